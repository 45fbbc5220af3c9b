"""What a table's columns are: type, range, categories, role, and what must stay private."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from understudy.sections import Strict

Cell = int | float | str | None
Record = dict[str, Cell]
"""One row, typed: whole numbers, numbers, text; None where nothing is known."""


class Column(Strict):
    """One column; what is left out of a schema is inferred from the sample."""

    type: Literal["integer", "number", "category", "text"]
    """`category` has few values, all listed; `text` is free."""
    role: Literal["input", "target", "ignored"] = "input"
    """What a VM is shown, what it is to say, or neither. Ignored columns are neither shown to the SM nor written."""
    low: float | None = None
    """Least value of a number."""
    high: float | None = None
    """Greatest value of a number."""
    decimals: int = Field(0, ge=0, le=12)
    """Places after the point of a `number`."""
    categories: tuple[str, ...] = ()
    """All values of a `category`."""
    optional: bool = False
    """Whether a cell may be empty."""
    sensitive: bool = False
    """Whether its text must not be repeated: runs of its words are looked for in what was written."""
    identifying: bool = False
    """Whether it helps to find a person when it is combined with others (a quasi-identifier)."""
    meaning: str = ""
    """What it holds, in words; shown to the SM."""

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.type in {"integer", "number"}

    @model_validator(mode="after")
    def _makes_sense(self) -> Column:
        if self.type == "category" and not self.categories:
            raise PydanticCustomError("categories", "a `category` without `categories`; list its values")
        if self.type != "category" and self.categories:
            raise PydanticCustomError("categories", "`categories` of a {type}; only a `category` has them", {"type": self.type})
        if not self.numeric and (self.low is not None or self.high is not None):
            raise PydanticCustomError("range", "a range (`low`, `high`) of a {type}; only numbers have one", {"type": self.type})
        if self.low is not None and self.high is not None and self.low > self.high:
            raise PydanticCustomError("range", "`low` above `high`")
        if self.type != "number" and self.decimals:
            raise PydanticCustomError("decimals", "`decimals` of a {type}; only a `number` has them", {"type": self.type})
        return self


Schema = dict[str, Column]
"""Columns by name, in the order in which they stand."""


def targets(schema: Schema) -> list[str]:
    """The columns that a VM is to say."""
    return [name for name, column in schema.items() if column.role == "target"]


def used(schema: Schema) -> Schema:
    """The columns that are shown and written."""
    return {name: column for name, column in schema.items() if column.role != "ignored"}
