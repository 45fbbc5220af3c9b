"""Continuing a sample, as conversations: some rows of a data set are shown, and as many others are the answer.

This is what an SM learns once, over many generic data sets (`sm.py`). A data set is a file of rows; its name stands
for the use case, and whole data sets are held out, not rows.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from understudy.corpus.readers import TABLES, table_rows
from understudy.corpus.tables import Row
from understudy.errors import UserError
from understudy.models.frozen import file_digest
from understudy.nouns import address

Conversation = dict[str, Any]


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
    """Conversations in which `shown` rows of a data set are continued by `new` others.

    The rows are shuffled and dealt out without return, then shuffled again, so that each stands in at most `most_uses`
    conversations, on one side of each.

    Raises:
        UserError: when the data set has too few rows for one, naming it.
    """
    groups = len(one.rows) // (shown + new)
    if not groups:
        raise UserError(
            f"data set `{one.name}` has {len(one.rows)} rows", where=str(one.path),
            expected=f"at least {shown + new}: {shown} to show and {new} to write",
            remedy="leave it out, or show and ask for fewer rows",
        )  # fmt: skip
    columns = one.columns
    random = Random(address(seed, one.name))  # noqa: S311
    found: list[Conversation] = []
    order: list[Row] = list(one.rows)
    for number in range(draws):
        if number % groups == 0:
            random.shuffle(order)
        start = number % groups * (shown + new)
        group = order[start : start + shown + new]
        turns = [
            {"role": "user", "content": request(one.name, columns, group[:shown], new)},
            {"role": "assistant", "content": lines(group[shown:])},
        ]
        found.append({"messages": turns})
    return found


def request(use_case: str, columns: list[str], rows: list[Row], new: int) -> str:
    """What an SM that was trained to continue samples is asked.

    Args:
        use_case: what the rows are of.
        columns: their names.
        rows: the sample.
        new: how many rows to ask for.
    """
    return (
        f"Rows of {use_case}, as JSON lines.\nColumns: {', '.join(columns)}\n\n{lines(rows)}\n\n"
        f"Write {new} new rows of the same kind, in the same form. Copy none."
    )


def lines(rows: list[Row]) -> str:
    """Rows as JSON lines."""
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
