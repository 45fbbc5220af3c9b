"""Run folders of earlier versions, brought up to date when they are opened to be written.

The new ledger is built beside the old one and renamed over it, so a crash leaves the one or the other; a copy of the
old one is kept as `ledger-vN.db`.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from understudy.corpus import seeds
from understudy.corpus.ledger import PRAGMAS, SCHEMA_VERSION, STATUSES, TABLES, digest, short
from understudy.corpus.storage import storage_errors
from understudy.errors import RunFolderError
from understudy.nouns import Seed


def migrate(path: Path, version: int) -> None:
    """Bring the ledger at `path`, which this process has locked, from `version` to the present one.

    Raises:
        RunFolderError: when no way leads there, or another process is reading it.
        StorageError: when the disk is full; the old ledger is then as it was.
    """
    if version not in _STEPS:
        raise RunFolderError(
            f"written by another version (ledger schema {version}, this is {SCHEMA_VERSION})",
            where=str(path),
            remedy="use the version of understudy that wrote it",
        )
    building = path.with_name(".ledger.new")
    with storage_errors(path):
        building.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as old, closing(sqlite3.connect(building)) as new:
            # A write-ahead log that outlived its database would be replayed into the new one.
            if old.execute("PRAGMA journal_mode=DELETE").fetchone() != ("delete",):
                raise RunFolderError("being read", where=str(path), remedy="end whatever shows this run, and try again")
            new.executescript(PRAGMAS + TABLES)
            with new:
                _STEPS[version](path.parent, old, new)
                new.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA_VERSION),))
        kept = path.with_name(f"ledger-v{version}.db")
        shutil.copyfile(path, kept.with_suffix(".tmp"))
        os.replace(kept.with_suffix(".tmp"), kept)
        os.replace(building, path)


def _from_2(folder: Path, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Seeds leave for Parquet files, ids and keys become bytes, rolled calls a sum and eight bytes each."""

    def placed() -> Iterator[tuple[Seed, str]]:
        for body, split in old.execute("SELECT body, split FROM seeds ORDER BY position"):
            yield Seed(**json.loads(body)), split

    kinds = [kind for (kind,) in old.execute("SELECT DISTINCT json_extract(body, '$.kind') FROM seeds ORDER BY 1")]
    new.executemany("INSERT INTO meta VALUES (?, ?)", old.execute("SELECT * FROM meta"))
    new.execute("INSERT INTO meta VALUES ('kinds', ?)", (json.dumps(kinds),))
    files = [(f.name, f.shard, f.sha256, f.rows, f.bytes) for f in seeds.write(folder, placed())]
    for name, shard, sha256, rows, size in [*files, *old.execute("SELECT * FROM files")]:
        new.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", (name, shard, bytes.fromhex(sha256), rows, size))
    new.executemany(
        "INSERT INTO reasons(text) VALUES (?)",
        old.execute("SELECT DISTINCT reason FROM drafts WHERE reason IS NOT NULL ORDER BY 1"),
    )
    new.executemany(
        "INSERT INTO drafts VALUES (?, ?, ?, (SELECT number FROM reasons WHERE text = ?), ?, ?)",
        (
            (turn, bytes.fromhex(id), STATUSES.index(status), reason, tokens, shard)
            for turn, id, status, reason, tokens, shard in old.execute(
                "SELECT turn, id, status, reason, tokens, shard FROM drafts"
            )
        ),
    )
    new.executemany(
        "INSERT INTO calls VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?)",
        (
            (digest(key), *rest)
            for key, *rest in old.execute(
                "SELECT key, agent, sm, prompt, cached, completion, seconds, body FROM calls WHERE shard IS NULL"
            )
        ),
    )
    rolled = old.execute("SELECT key, shard FROM calls WHERE shard IS NOT NULL")
    new.executemany("INSERT OR IGNORE INTO rolled VALUES (?, ?)", ((short(key), shard) for key, shard in rolled))
    new.executemany(
        "INSERT INTO usage VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
        old.execute(
            "SELECT agent, sm, COUNT(*), SUM(prompt), SUM(cached), SUM(completion), SUM(seconds) FROM calls"
            " WHERE shard IS NOT NULL GROUP BY agent, sm"
        ),
    )
    new.executemany("INSERT INTO flow VALUES (?, ?, ?, ?, ?, ?, ?)", old.execute("SELECT * FROM flow"))


def _from_3(folder: Path, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Calls may have been taken from another corpus; none had been so far."""
    for table, columns in (
        ("meta", "*"),
        ("files", "*"),
        ("reasons", "*"),
        ("drafts", "*"),
        ("rolled", "*"),
        ("busy", "*"),
        ("flow", "*"),
        ("calls", "key, agent, sm, 0, prompt, cached, completion, seconds, body"),
        ("usage", "agent, sm, calls, 0, prompt, cached, completion, seconds"),
    ):
        found = old.execute(f"SELECT {columns} FROM {table}")  # noqa: S608
        marks = ", ".join("?" * len(found.description))
        new.executemany(f"INSERT INTO {table} VALUES ({marks})", found)  # noqa: S608


_STEPS: dict[int, Callable[[Path, sqlite3.Connection, sqlite3.Connection], None]] = {2: _from_2, 3: _from_3}
