"""The seeds of a run in plan order: Parquet files beside the ledger, written once when the folder is made.

Sources take turns in the plan, in an order that hashes the run's seed, and each source gives its share of seeds to the
test split. A seed's position is kept for good, so what is added later cannot move it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.corpus import rows
from understudy.corpus.ledger import File
from understudy.corpus.scratch import Database
from understudy.nouns import Seed, address

HOME = "seeds"
# Seeds are read a row group at a time; a file's footer lists its groups and is read whole.
_GROUP = 256
_FILE = 65_536
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("content", pa.string()),
        ("source", pa.string()),
        ("meta", pa.string()),
        ("split", pa.string()),
    ]
)
_TABLES = """
CREATE TABLE seeds(
    id TEXT PRIMARY KEY, source INTEGER NOT NULL, shuffle TEXT NOT NULL, twin TEXT NOT NULL, body TEXT NOT NULL,
    position INTEGER, split TEXT) WITHOUT ROWID;
CREATE INDEX seeds_by_twin ON seeds(twin, position);
"""
_PLACE = """
UPDATE seeds SET position = placed.position, split = placed.split FROM (
    SELECT id, ROW_NUMBER() OVER (ORDER BY rank, source) - 1 AS position,
        CASE WHEN CAST(rank * :test + 0.5 AS INTEGER) < CAST((rank + 1) * :test + 0.5 AS INTEGER)
            THEN 'test' ELSE 'train' END AS split
    FROM (SELECT id, source, ROW_NUMBER() OVER (PARTITION BY source ORDER BY shuffle) - 1 AS rank FROM seeds)
) AS placed WHERE seeds.id = placed.id
"""
# Equal seeds stand on the same side, or the test split would hold what was trained on.
_JOIN_TWINS = """
UPDATE seeds SET split = first.split FROM (
    SELECT twin, split FROM seeds AS one
    WHERE position = (SELECT MIN(position) FROM seeds WHERE twin = one.twin)
    GROUP BY twin HAVING (SELECT COUNT(*) FROM seeds WHERE twin = one.twin) > 1
) AS first WHERE seeds.twin = first.twin
"""


def place(folder: Path, seeds: Iterable[tuple[int, Seed, str]], test_share: float) -> tuple[list[File], list[str]]:
    """Write all seeds, given as (source, seed, shuffle key), in plan order.

    Returns the files, for the ledger, and the kinds of seed in them.
    """
    scratch = Database(_TABLES)
    kinds: set[str] = set()

    def entries() -> Iterator[tuple[object, ...]]:
        for source, seed, shuffle in seeds:
            kinds.add(seed.kind)
            yield seed.id, source, shuffle, address(seed.kind, seed.content), json.dumps(asdict(seed))

    scratch.write("INSERT INTO seeds(id, source, shuffle, twin, body) VALUES (?, ?, ?, ?, ?)", entries())
    scratch.write(_PLACE, [{"test": test_share}])
    scratch.write(_JOIN_TWINS, [{}])
    placed = (
        (Seed(**json.loads(body)), split)
        for body, split in scratch.read("SELECT body, split FROM seeds ORDER BY position")
    )
    return write(folder, placed), sorted(kinds)


def ranked(read: Iterable[tuple[int, Seed]]) -> Iterator[tuple[int, Seed]]:
    """Seeds as they are read, each with its place among those of its kind (`rank`).

    The plan goes by it: what is added at the end of the sources leaves the others' drafts as they were.
    """
    counts: Counter[str] = Counter()
    for source, seed in read:
        yield source, replace(seed, meta={**seed.meta, "rank": counts[seed.kind]})
        counts[seed.kind] += 1


def write(folder: Path, placed: Iterator[tuple[Seed, str]]) -> list[File]:
    """Write seeds with their splits, which come in plan order."""
    out: list[File] = []
    groups = _groups(placed)
    while (first := next(groups, None)) is not None:
        file = chain([first], islice(groups, _FILE // _GROUP - 1))
        out.append(rows.write_groups(folder, f"{HOME}/{len(out):05d}.parquet", _SCHEMA, file))
    return out


def _groups(placed: Iterator[tuple[Seed, str]]) -> Iterator[pa.Table]:
    while group := list(islice(placed, _GROUP)):
        entries = [{**asdict(seed), "meta": json.dumps(seed.meta), "split": split} for seed, split in group]
        yield pa.Table.from_pylist(entries, schema=_SCHEMA)


def ids(folder: Path, files: Sequence[File]) -> Iterator[str]:
    """The ids of all seeds, in plan order."""
    for row in rows.read(folder, files, ["id"]):
        yield row["id"]


class SeedFiles:
    """A run's seeds by position; one thread at a time may use it."""

    def __init__(self, folder: Path, files: Sequence[File]) -> None:
        self._folder = folder
        self._files = files
        self._ends = list(accumulate(file.rows for file in files))
        self._open: tuple[int, pq.ParquetFile] | None = None
        self._group: tuple[int, int, list[dict[str, Any]]] = (-1, -1, [])

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, position: int) -> tuple[Seed, str]:
        """A seed and its split."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        number = bisect_right(self._ends, position)
        group, place = divmod(position - (self._ends[number] - self._files[number].rows), _GROUP)
        if self._group[:2] != (number, group):
            self._group = (number, group, self._file(number).read_row_group(group).to_pylist())
        row = dict(self._group[2][place])
        split = row.pop("split")
        return Seed(**{**row, "meta": json.loads(row["meta"])}), split

    def some(self, position: int, count: int) -> list[tuple[Seed, str]]:
        """The seeds at a position and after it, at most `count`, with their splits."""
        return [self[place] for place in range(position, min(position + count, len(self)))]

    def _file(self, number: int) -> pq.ParquetFile:
        if self._open is None or self._open[0] != number:
            self.close()
            self._open = (number, pq.ParquetFile(self._folder / self._files[number].name))
        return self._open[1]

    def close(self) -> None:
        """Close the file that is open, if one is."""
        if self._open is not None:
            self._open[1].close()
            self._open = None
