"""A task: held-out rows, how a model is asked, and what its answers are measured by; read from a small YAML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from understudy.errors import UserError
from understudy.sections import Strict, misplaced
from understudy.yaml_file import explain, parse

MeasureName = Literal["exact", "fields", "classes", "ranking", "pass@k", "perplexity", "f1"]
# Which measures a key is for; keys that are not here are for all.
_FOR: dict[str, tuple[MeasureName, ...]] = {
    "k": ("ranking", "pass@k"),
    "samples": ("pass@k",),
    "temperature": ("pass@k",),
    "positive": ("ranking",),
    "choices": ("classes", "ranking"),
    "answer_pattern": ("exact", "fields", "classes", "pass@k", "f1"),
}
_NEEDED: dict[MeasureName, tuple[str, ...]] = {
    "ranking": ("k", "positive", "choices"),
    "pass@k": ("k", "samples", "temperature"),
}


class Task(Strict):
    """One task of `understudy eval --on`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What its file of results is called."""
    data: str
    """Conversations in a .jsonl, .json or .parquet file, relative to the task's; the last turn is the reference."""
    measure: MeasureName
    """`exact`, `f1`, `fields` (JSON objects), `classes`, `ranking`, `pass@k`, or `perplexity` of the references."""
    k: int | None = Field(None, ge=1)
    """Of `pass@k`, and of the precision among the first k of a `ranking`."""
    samples: int | None = Field(None, ge=1)
    """Answers drawn for each row."""
    temperature: float | None = Field(None, gt=0, le=2)
    """At which they are drawn; all other answers are the most likely words."""
    positive: str | None = None
    """The answer that says that a row is relevant; rows are ranked by how likely it is."""
    choices: tuple[str, ...] | None = Field(None, min_length=2)
    """All answers there are. Where they are given, a model answers with the one it finds most likely."""
    answer_pattern: str | None = None
    """What of a reply, and of a reference, is the answer: the last match, or its first group."""
    max_new_tokens: int = Field(128, ge=1)
    """Longest reply."""
    limit: int | None = Field(None, ge=1)
    """Measure the first rows only."""

    _at: Path = PrivateAttr(default=Path())

    @field_validator("answer_pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"a regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Task:
        for key in _NEEDED.get(self.measure, ()):
            if getattr(self, key) is None:
                raise PydanticCustomError("missing", "missing", {"at": (key,)})
        for key, measures in _FOR.items():
            if (got := getattr(self, key)) is not None and self.measure not in measures:
                expected = f"no `{key}`: it is for {', '.join(measures)}, not for {self.measure}"
                raise misplaced((key,), str(got), expected)
        if self.choices and self.answer_pattern:
            raise misplaced(("answer_pattern",), self.answer_pattern, "none where there are `choices`")
        if self.positive is not None and self.positive not in (self.choices or ()):
            raise misplaced(("positive",), self.positive, "one of the `choices`")
        if self.samples is not None and self.k is not None and self.samples < self.k:
            raise misplaced(("samples",), str(self.samples), f"{self.k} or more, as `k` is")
        return self

    @property
    def path(self) -> Path:
        """Of the data."""
        return self._at / self.data

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """That of the answers."""
        return re.compile(self.answer_pattern) if self.answer_pattern else None


def load_task(path: Path) -> Task:
    """Read and check a task file.

    Raises:
        UserError: naming file, line and key, and the nearest valid key for a typo.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError("no such task file", where=str(path), remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), expected="a task, one YAML file") from error
    node, data = parse(path, text, "keys such as `name:`, `data:`, `measure:`", UserError)
    try:
        task = Task.model_validate(data)
    except ValidationError as error:
        raise explain(path, node, error, Task, UserError) from error
    task._at = path.resolve().parent
    return task
