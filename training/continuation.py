"""Continuing a sample, as conversations: some rows of a data set are shown, and others are the answers, one a turn.

This is what an SM learns once, over many generic data sets (`sm.py`). A data set is a file of rows; its name stands
for the use case, and whole data sets are held out, not rows.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from understudy.agents import Agent, load_catalog
from understudy.columns import Cell
from understudy.corpus import table_schema
from understudy.corpus.readers import TABLES, table_rows
from understudy.corpus.table_schema import checked, eighth, infer, line, order, told, typed
from understudy.corpus.tables import Row
from understudy.errors import UserError
from understudy.models.frozen import file_digest
from understudy.nouns import address
from understudy.recipe import Cast

Conversation = dict[str, Any]
# Share of the columns that a sketch speaks of, as a run's default.
_SKETCHED = 0.5


@dataclass(frozen=True, slots=True)
class DataSet:
    """One table, read whole; a row that comes again is not a second one."""

    name: str
    path: Path
    digest: str
    """Of the file."""
    bytes: int
    rows: tuple[Row, ...]

    @property
    def columns(self) -> list[str]:
        """Every column that a row has, in the order in which they come."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def rows_digest(self) -> str:
        """Of the rows, whatever their order and the format of the file."""
        return address(sorted(address({name: str(value) for name, value in row.items()}) for row in self.rows))


def read_data_sets(paths: list[Path]) -> list[DataSet]:
    """The tables, each named as its file.

    Raises:
        UserError: for a file that is missing, of another kind or without rows, and for a table that comes twice.
        SeedError: for one that cannot be read.
    """
    found: list[DataSet] = []
    for path in paths:
        one = _read(path)
        for other in found:
            if one.name == other.name or one.rows_digest == other.rows_digest:
                what = f"two data sets are called `{one.name}`" if one.name == other.name else "the same rows twice"
                raise UserError(
                    what, where=f"{other.path}, {path}", expected="data sets that differ in name and rows",
                    remedy="rename a file, or leave it out",
                )  # fmt: skip
        found.append(one)
    return found


def _read(path: Path) -> DataSet:
    kinds = ", ".join(sorted(TABLES))
    if not path.is_file():
        raise UserError("no such file", where=str(path), expected=f"a data set, one file of {kinds}")
    if path.suffix.lower() not in TABLES:
        raise UserError("not a table", where=str(path), expected=f"one of {kinds}")
    rows: dict[str, Row] = {}
    for place, row in table_rows(path):
        try:
            rows.setdefault(json.dumps(row, sort_keys=True, allow_nan=False), row)
        except ValueError as error:
            raise UserError(
                "holds NaN or an infinity, which JSON has no form for", where=f"{path}:{place}",
                remedy="write it as null",
            ) from error  # fmt: skip
    if not rows:
        raise UserError("holds no rows", where=str(path))
    return DataSet(path.stem, path, file_digest(path), path.stat().st_size, tuple(rows.values()))


def split(
    sets: list[DataSet], held_out: tuple[str, ...], share: float, seed: int
) -> tuple[list[DataSet], list[DataSet]]:
    """Which data sets are learned from, and which are held out whole.

    Args:
        sets: all of them.
        held_out: names of those to hold out; if there are none, they are drawn.
        share: of the data sets, at least one, to draw.
        seed: of the draw.

    Raises:
        UserError: for a name that no data set has, or when none is left on one side.
    """
    names = [one.name for one in sets]
    if unknown := [name for name in held_out if name not in names]:
        raise UserError(f"no data set is called `{unknown[0]}`", expected=f"one of: {', '.join(names)}")
    if len(set(held_out) or {None}) >= len(sets):
        raise UserError(
            f"{len(sets)} data sets, and {len(set(held_out)) or 'one'} of them to hold out: none is left to learn from",
            remedy="give more data sets: whole ones are held out, not rows",
        )
    if not held_out:
        count = min(len(sets) - 1, max(1, round(share * len(sets))))
        held_out = tuple(sorted(names, key=lambda name: address(seed, name))[:count])
    return [one for one in sets if one.name not in held_out], [one for one in sets if one.name in held_out]


def most_uses(rows: int, shown: int, new: int, draws: int) -> int:
    """In how many of `draws` conversations a row of so many can stand."""
    return math.ceil(draws / (rows // (shown + new)))


def continuations(one: DataSet, shown: int, new: int, draws: int, seed: int) -> list[Conversation]:
    """Conversations in which `shown` rows of a data set are continued by `new` others, one a turn.

    They are asked for as a run asks (the agent `more-rows`): a sketch of the row is given, of some of its columns. The
    rows are shuffled and dealt out without return, then shuffled again, so that each stands in at most `most_uses`
    conversations, on one side of each.

    Raises:
        UserError: when the data set has too few rows for one, or nothing but free text, naming it.
    """
    groups = len(one.rows) // (shown + new)
    if not groups:
        raise UserError(
            f"data set `{one.name}` has {len(one.rows)} rows", where=str(one.path),
            expected=f"at least {shown + new}: {shown} to show and {new} to write",
            remedy="leave it out, or show and ask for fewer rows",
        )  # fmt: skip
    inferred = checked(infer(one.rows), str(one.path))
    rows = [typed(row, inferred, str(one.path)) for row in one.rows]
    if not order(inferred):
        raise UserError(f"data set `{one.name}` holds free text alone", where=str(one.path), remedy="leave it out")
    numbers = {
        name: sorted(float(value) for row in rows if isinstance(value := row.get(name), int | float))
        for name in order(inferred)
    }  # fmt: skip
    rng = Random(address(seed, one.name))  # noqa: S311
    found: list[Conversation] = []
    for number in range(draws):
        if number % groups == 0:
            rng.shuffle(rows)
        start = number % groups * (shown + new)
        group = rows[start : start + shown + new]
        # Any column may be what a use case is about: it stands first.
        aim = rng.choice(order(inferred))
        schema = inferred | {aim: inferred[aim].model_copy(update={"role": "target"})}
        turns = []
        for place, row in enumerate(group[shown:]):
            names = [name for name in order(schema) if name == aim or rng.random() < _SKETCHED]
            wanted = {name: _roughly(row[name], numbers[name]) for name in names}
            material = table_schema.shown(one.name, group[:shown], schema) if not place else ""
            turns.append({"role": "user", "content": _asked(material, told(wanted, schema))})
            turns.append({"role": "assistant", "content": line(row, schema)})
        found.append({"messages": turns})
    return found


def _roughly(value: Cell, numbers: list[float]) -> tuple[float, float] | str | None:
    if not isinstance(value, int | float):
        return value
    return eighth(numbers, (bisect_left(numbers, value) + 0.5) / len(numbers))


def _asked(material: str, wanted: str) -> str:
    """What a run asks."""
    (message,) = _writer().prompt.render("", material, {"wanted": wanted})
    return message["content"]


@cache
def _writer() -> Agent:
    (agent,) = load_catalog(Cast(instruct=("more-rows",))).agents["instruct"]
    return agent
