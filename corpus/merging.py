"""Many small shards become few large ones.

A shard is small so that a crash costs little. Each 64 of them, counted from the first, are merged into one file for
each home, in the same order, as soon as they are all committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from understudy.corpus import rows
from understudy.corpus.ledger import File, Ledger
from understudy.errors import RunFolderError

SPAN = 64
_SHARDS_IN_A_GROUP = 4
"""So many make a row group: what is read to find one call."""


@dataclass(frozen=True, slots=True)
class Due:
    """Shards that are to become one."""

    shards: range
    files: tuple[File, ...]
    """Theirs, as the ledger lists them."""


def due(ledger: Ledger) -> Due | None:
    """The next shards to be merged, if they are all there."""
    alone = ledger.first_shard_alone(SPAN)
    if alone is None:
        return None
    first = alone // SPAN * SPAN
    if ledger.next_shard() < first + SPAN:
        return None
    shards = range(first, first + SPAN)
    return Due(shards, tuple(file for shard in shards for file in ledger.files_of(shard)))


def write(folder: Path, due: Due, schemas: dict[str, pa.Schema]) -> list[File]:
    """Write the merged files; they are no part of the corpus until `Ledger.merge` has entered them.

    Args:
        folder: the run folder.
        due: what is to be merged; any thread may do it, since these files do not change.
        schemas: of the rows, by home.

    Raises:
        RunFolderError: when one of the files is damaged: no checksum would tell so any more afterwards.
        StorageError: when the disk is full.
    """
    for file in due.files:
        if (what := rows.damage(folder / file.name, file)) is not None:
            remedy = f"understudy journal repair {folder}, then run the recipe again"
            raise RunFolderError(what, where=str(folder / file.name), remedy=remedy)
    out = []
    for stem, found in groupby(sorted(due.files, key=lambda file: (_stem(file), file.shard)), _stem):
        name = f"{stem}{due.shards[0]:05d}-{due.shards[-1]:05d}.parquet"
        schema = schemas[stem.split("/")[0]]
        out.append(rows.write_groups(folder, name, schema, _groups(folder, list(found), schema), due.shards[-1]))
    return out


def _stem(file: File) -> str:
    """Home and split: the name without the shard's number."""
    return file.name.removesuffix(".parquet").rstrip("0123456789")


def _groups(folder: Path, files: list[File], schema: pa.Schema) -> Iterator[pa.Table]:
    for _, together in groupby(files, lambda file: file.shard // _SHARDS_IN_A_GROUP):
        yield from rows.tables(folder, together, schema, least=2**31)
