"""A differentially private stand-in for a table, and the claim that lies beside it.

Noisy counts of columns and of pairs of columns are all that is read off the real rows; a graphical model that fits them
draws new ones. The mechanism is AIM (McKenna et al., VLDB 2022, arXiv 2201.12677) as OpenDP has it. What is made from
the stand-in alone is as private as the stand-in is, whatever is done with it.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from understudy.columns import Cell, Column, Record, Schema, used
from understudy.errors import SchemaError, UserError

UNIT = "one row added or removed"
_BESIDE = ".epsilon.json"
_DEGREE = 2
"""Columns whose joint counts are read: pairs, as the likeness of a table is measured in pairs."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed of a stand-in."""

    epsilon: float
    unit: str
    """What the epsilon bounds the effect of."""
    by: str
    """Mechanism and library."""
    sha256: str
    """Of the file that this is claimed of."""

    def told(self) -> str:
        """In words."""
        return f"differentially private with epsilon = {self.epsilon:g} for {self.unit} ({self.by})"


def check_declared(schema: Schema, where: str) -> None:
    """That a schema says all that must be known beforehand, so that it need not be read off the rows.

    Raises:
        SchemaError: for a number without a range, or free text.
    """
    for name, column in used(schema).items():
        if column.type == "text":
            raise SchemaError(
                f"column `{name}` is free text", where=where, expected="numbers and categories",
                remedy="give it the role `ignored`: no count of it could be released",
            )  # fmt: skip
        if column.numeric and (column.low is None or column.high is None):
            raise SchemaError(
                f"column `{name}` has no range", where=where, expected="`low` and `high`, as known without the data"
            )


def stand_in(rows: Sequence[Record], schema: Schema, epsilon: float, bins: int, count: int | None) -> list[Record]:
    """Rows from noisy counts of the real ones; each call spends its epsilon anew, and comes out otherwise.

    Args:
        rows: the real ones, within the schema.
        schema: with a range for every number (`check_declared`).
        epsilon: pure differential privacy, for one row added or removed.
        bins: classes of equal width that numbers are counted in.
        count: how many rows; None takes the noisy number of the real ones.

    Raises:
        UserError: when OpenDP is not installed.
    """
    columns = {name: _Coded.of(column, bins) for name, column in used(schema).items()}
    coded = [{name: one.code(row.get(name)) for name, one in columns.items()} for row in rows]
    drawn = _released(coded, {name: one.codes for name, one in columns.items()}, epsilon, count)
    rng = Random()  # noqa: S311 - decoding is no part of the mechanism
    known = {name: [code for row in drawn if (code := row[name]) is not None] for name in columns}
    made = []
    for row in drawn:
        record: Record = {}
        for name, one in columns.items():
            code = row[name]
            if code is None and not one.column.optional:  # the model has an empty class for every column
                code = rng.choice(known[name] or one.codes)
            record[name] = None if code is None else one.cell(code, rng)
        made.append(record)
    return made


@dataclass(frozen=True, slots=True)
class _Coded:
    """A column as few classes."""

    column: Column
    codes: list[str]
    edges: list[float]
    """Of numbers: least and greatest of each class, one after another."""

    @classmethod
    def of(cls, column: Column, bins: int) -> _Coded:
        if not column.numeric:
            return cls(column, list(column.categories), [])
        assert column.low is not None and column.high is not None  # as `check_declared` leaves it  # noqa: S101
        step = 10**-column.decimals
        steps = round((column.high - column.low) / step) + 1  # values that the column can have
        bins = max(1, min(bins, steps))
        cuts = [column.low + step * round(place * steps / bins) for place in range(bins + 1)]
        return cls(column, [str(place) for place in range(bins)], cuts)

    def code(self, cell: Cell) -> str | None:
        if cell is None or not self.column.numeric:
            return None if cell is None else str(cell)
        place = sum(float(cell) >= edge - 1e-9 for edge in self.edges) - 1
        return self.codes[min(max(place, 0), len(self.codes) - 1)]

    def cell(self, code: str, rng: Random) -> Cell:
        """A value of the class, each as likely."""
        if not self.column.numeric:
            return code
        step = 10.0**-self.column.decimals
        low, high = self.edges[int(code)], self.edges[int(code) + 1]
        value: float = low + step * rng.randrange(max(1, round((high - low) / step)))
        return round(value) if self.column.type == "integer" else round(value, self.column.decimals)


def _released(
    rows: Sequence[dict[str, str | None]], codes: dict[str, list[str]], epsilon: float, count: int | None
) -> list[dict[str, str | None]]:
    """What OpenDP makes of coded rows."""
    try:
        import opendp.prelude as dp
        import polars as pl
        from opendp.extras.mbi import AIM
    except ImportError as error:
        raise UserError(
            f"a private stand-in needs {error.name}", remedy="install it with `pip install 'understudy[dp]'`"
        ) from error
    dp.enable_features("contrib")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(codes, pl.String))
    context = dp.Context.compositor(
        data=frame.lazy(), privacy_unit=dp.unit_of(contributions=1), privacy_loss=dp.loss_of(epsilon=float(epsilon))
    )
    query: Any = context.query(epsilon=float(epsilon))
    table = query.contingency_table(keys=codes, algorithm=AIM(queries=_DEGREE)).release()
    # The other method, `round`, lines up columns that have nothing to do with one another.
    drawn: list[dict[str, str | None]] = table.synthesize(count, method="sample").to_dicts()
    return drawn


def write(path: Path, rows: Sequence[Record], epsilon: float) -> Claim:
    """The rows as CSV, and beside it what is claimed of that file."""
    from importlib.metadata import version

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    claim = Claim(epsilon, UNIT, f"AIM, OpenDP {version('opendp')}", _hash(path))
    beside(path).write_text(json.dumps(asdict(claim), indent=1) + "\n", encoding="utf-8")
    return claim


def beside(path: Path) -> Path:
    """Where the claim of a table lies."""
    return path.with_suffix(_BESIDE)


def claim_of(path: Path) -> Claim | None:
    """What is claimed of a table, as long as nobody has changed it; None where nothing is."""
    try:
        claim = Claim(**json.loads(beside(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return claim if claim.sha256 == _hash(path) else None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
