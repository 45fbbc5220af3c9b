"""What sections of a recipe have in common: unknown keys are errors, and an error knows its place."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A section of the recipe: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def misplaced(at: tuple[str | int, ...], got: str, expected: str) -> PydanticCustomError:
    """An error that only the whole recipe shows, but that stands at one place in it."""
    known = {"at": at, "got": got, "expected": expected, "place": ".".join(map(str, at))}
    return PydanticCustomError("misplaced", "{place} is {got}, expected {expected}", known)
