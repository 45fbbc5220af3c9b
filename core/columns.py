"""What a table's columns are: type, range, categories, role, and what must stay private."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from understudy.sections import Strict, misplaced

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
    """What it holds, in words; of free text, the SM is told."""

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.type in {"integer", "number"}

    @field_validator("categories", mode="before")
    @classmethod
    def _in_quotes(cls, given: Any) -> Any:
        # YAML takes a bare `no` for false and a bare `0` for a number; which word stood there is lost.
        if isinstance(given, list | tuple) and (bare := [value for value in given if not isinstance(value, str)]):
            raise misplaced((), str(bare[0]), 'text in quotes, such as "no" or "0": YAML reads more into bare words')
        return given

    @model_validator(mode="after")
    def _makes_sense(self) -> Column:
        if self.type == "category" and not self.categories:
            raise misplaced(("categories",), "empty", "the values of a `category`, all of them")
        if len(set(self.categories)) < len(self.categories):
            twice = next(value for value in self.categories if self.categories.count(value) > 1)
            raise misplaced(("categories",), f"{twice!r} twice", "each value once")
        if self.type != "category" and self.categories:
            raise misplaced(("categories",), "a list", f"none: only a `category` has them, this is `{self.type}`")
        for key, bound in (("low", self.low), ("high", self.high)):
            if bound is not None and not self.numeric:
                raise misplaced((key,), f"{bound:g}", f"none: only numbers have a range, this is `{self.type}`")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise misplaced(("low",), f"{self.low:g}", f"at most `high`, {self.high:g}")
        if self.type != "number" and self.decimals:
            raise misplaced(("decimals",), f"{self.decimals}", f"none: only a `number` has them, this is `{self.type}`")
        return self


Schema = dict[str, Column]
"""Columns by name, in the order in which they stand."""


def targets(schema: Schema) -> list[str]:
    """The columns that a VM is to say."""
    return [name for name, column in schema.items() if column.role == "target"]


def used(schema: Schema) -> Schema:
    """The columns that are shown and written."""
    return {name: column for name, column in schema.items() if column.role != "ignored"}
