"""The ledger: one SQLite file that is the truth about a run.

It holds every seed and its state, every committed draft, every file of every shard, and the calls whose
drafts have not been committed yet. A file that the ledger does not list is not part of the corpus. One
process owns it at a time; SQLite runs in WAL mode with synchronous=FULL, so what was committed survives a
power cut.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from understudy.errors import AccountingError, RunFolderError, StorageError
from understudy.nouns import Call, Example, Kind, Seed, address

SCHEMA_VERSION = 2
_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE seeds(
    id TEXT PRIMARY KEY, source INTEGER NOT NULL, shuffle TEXT NOT NULL, position INTEGER,
    split TEXT, twin TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'pending', body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX seeds_by_position ON seeds(position);
CREATE INDEX seeds_by_twin ON seeds(twin, position);
CREATE TABLE drafts(
    turn INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, seed TEXT NOT NULL REFERENCES seeds(id),
    draw INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT, tokens INTEGER NOT NULL,
    shard INTEGER NOT NULL) STRICT;
CREATE INDEX drafts_by_seed ON drafts(seed);
CREATE TABLE files(
    name TEXT PRIMARY KEY, shard INTEGER NOT NULL, sha256 TEXT NOT NULL, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE calls(
    key TEXT PRIMARY KEY, agent TEXT NOT NULL, sm TEXT NOT NULL, prompt INTEGER NOT NULL, cached INTEGER NOT NULL,
    completion INTEGER NOT NULL, seconds REAL NOT NULL, error TEXT, shard INTEGER, body BLOB) STRICT, WITHOUT ROWID;
CREATE TABLE flow(
    at REAL NOT NULL, sm TEXT NOT NULL, endpoint TEXT NOT NULL, cap INTEGER NOT NULL, in_flight INTEGER NOT NULL,
    waiting INTEGER NOT NULL, event TEXT) STRICT;
"""
# Seeds take turns source by source, in an order that hashes the run's seed, and each source gives its share
# of seeds to the test split; the position is kept for good, so what is added later cannot move it.
_PLACE_SEEDS = """
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


@dataclass(frozen=True, slots=True)
class Draft:
    """A finished draft, as the ledger keeps it."""

    turn: int
    example: Example
    tokens: int


@dataclass(frozen=True, slots=True)
class File:
    """A committed file of a shard."""

    name: str
    shard: int
    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one agent used of one SM."""

    agent: str
    sm: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt tokens, those that the engine had read before."""
    completion_tokens: int
    seconds: float


class Ledger:
    """The SQLite file `ledger.db` of a run folder; see the module's text for what it promises."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: IO[str] | None) -> None:
        self.path = path
        self._db = db
        self._lock = lock
        # Calls are looked up while the other connection waits for the disk: in WAL mode readers wait for nobody.
        self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)

    @classmethod
    def create(cls, path: Path, meta: dict[str, str]) -> Ledger:
        """A new ledger, owned by this process."""
        lock = _acquire(path)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        with storage_errors(path):
            _configure(db)
            db.executescript("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE;" + _TABLES)
            meta = {**meta, "schema": str(SCHEMA_VERSION)}
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            db.execute("COMMIT")
        return cls(path, db, lock)

    @classmethod
    def open(cls, path: Path, *, own: bool = True) -> Ledger:
        """An existing ledger; with `own=False` for reading beside its owner.

        Raises:
            RunFolderError: when it is missing, locked by another process, damaged, or of another version.
        """
        if not path.is_file():
            raise RunFolderError(
                "not a corpus folder: it has no ledger.db",
                where=str(path.parent),
                remedy="give the output folder of `understudy run`",
            )
        lock = _acquire(path) if own else None
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        ledger = cls(path, db, lock)
        try:
            _configure(db)
            version = int(ledger.meta("schema"))
        except (sqlite3.DatabaseError, LookupError, ValueError) as error:
            ledger.close()
            raise RunFolderError(
                f"ledger is damaged: {error}", where=str(path), remedy="restore it from a copy of the folder"
            ) from error
        if version != SCHEMA_VERSION:
            ledger.close()
            raise RunFolderError(
                f"written by another version (ledger schema {version}, this is {SCHEMA_VERSION})",
                where=str(path),
                remedy="use the version of understudy that wrote it",
            )
        return ledger

    def close(self) -> None:
        """Close the file and give up ownership."""
        self._reader.close()
        self._db.close()
        if self._lock:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with storage_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def meta(self, key: str) -> str:
        """One value of the run's own facts (recipe, plan version, name)."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise LookupError(f"no {key} in meta")
        return str(row[0])

    def set_meta(self, **values: str) -> None:
        """Replace values of the run's own facts."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    # Seeds

    def register(self, seeds: Iterator[tuple[int, Seed, str]], test_share: float) -> int:
        """Enter all seeds as (source, seed, shuffle key) and give each its position and split."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO seeds(id, source, shuffle, twin, body) VALUES (?, ?, ?, ?, ?)",
                (
                    (seed.id, source, shuffle, address(seed.kind, seed.content), json.dumps(asdict(seed)))
                    for source, seed, shuffle in seeds
                ),
            )
            db.execute(_PLACE_SEEDS, {"test": test_share})
            db.execute(_JOIN_TWINS)
        return self.count_seeds()

    def count_seeds(self) -> int:
        """How many seeds the run has."""
        return int(self._db.execute("SELECT COUNT(*) FROM seeds").fetchone()[0])

    def kinds(self) -> set[Kind]:
        """The kinds of seed that the run has."""
        return {kind for (kind,) in self._db.execute("SELECT DISTINCT json_extract(body, '$.kind') FROM seeds")}

    def seeds_from(self, position: int, count: int) -> list[tuple[Seed, str]]:
        """The seeds at a position of the plan and after it, at most `count`, with their splits."""
        rows = self._db.execute(
            "SELECT body, split FROM seeds WHERE position >= ? ORDER BY position LIMIT ?", (position, count)
        )
        return [(Seed(**json.loads(body)), split) for body, split in rows]

    def seed(self, id: str) -> Seed | None:
        """A seed by id."""
        row = self._db.execute("SELECT body FROM seeds WHERE id = ?", (id,)).fetchone()
        return Seed(**json.loads(row[0])) if row else None

    # Drafts and shards

    def commit(self, shard: int, drafts: Sequence[Draft], files: Sequence[File], rolled: Sequence[str]) -> None:
        """Enter a shard: its files (already durable), its drafts, its seeds' states, its calls rolled out.

        Raises:
            AccountingError: when the drafts do not follow those before them turn by turn. A run is resumed after
                the last turn, so a gap (left by a shard that could not be written) would be lost for good.
        """
        turns, first = [draft.turn for draft in drafts], self.next_turn()
        if turns != list(range(first, first + len(turns))):
            raise AccountingError(
                f"shard {shard} holds turns {turns}, expected to start at {first}", where=str(self.path)
            )
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
                [(f.name, f.shard, f.sha256, f.rows, f.bytes) for f in files],
            )
            db.executemany(
                "INSERT INTO drafts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (d.turn, d.example.id, d.example.seed, d.example.draw, d.example.status, d.example.reason,
                     d.tokens, shard)
                    for d in drafts
                ],
            )  # fmt: skip
            db.executemany(
                "UPDATE seeds SET state = CASE WHEN EXISTS(SELECT 1 FROM drafts WHERE seed = ?1 AND status != 'failed')"
                " THEN 'done' ELSE 'failed' END WHERE id = ?1",
                sorted({(d.example.seed,) for d in drafts}),
            )
            db.executemany("UPDATE calls SET shard = ?, body = NULL WHERE key = ?", [(shard, key) for key in rolled])

    def next_shard(self) -> int:
        """The number the next shard will have."""
        # Shards follow the plan, so the last draft is in the last one: no need to look at them all.
        last = self._db.execute("SELECT shard FROM drafts ORDER BY turn DESC LIMIT 1").fetchone()
        return int(last[0]) + 1 if last else 0

    def next_turn(self) -> int:
        """The first turn of the plan that is not committed."""
        return int(self._db.execute("SELECT COALESCE(MAX(turn) + 1, 0) FROM drafts").fetchone()[0])

    def files(self, prefix: str = "") -> list[File]:
        """The committed files whose names start so, in order of shard."""
        query = "SELECT * FROM files WHERE substr(name, 1, ?) = ? ORDER BY shard, name"
        return [File(*row) for row in self._db.execute(query, (len(prefix), prefix))]

    def draft_ids(
        self, prefix: str = "", status: str | None = None, limit: int = 20
    ) -> list[tuple[str, str, str | None]]:
        """Drafts as (id, status, reason), by id prefix and status, in plan order."""
        query = "SELECT id, status, reason FROM drafts WHERE substr(id, 1, ?) = ? AND (? IS NULL OR status = ?)"
        values = (len(prefix), prefix, status, status, limit)
        return [(str(i), str(s), r) for i, s, r in self._db.execute(query + " ORDER BY turn LIMIT ?", values)]

    def draft_id(self, turn: int) -> str:
        """The id of the draft that was committed for a turn.

        Raises:
            AccountingError: when there is none.
        """
        row = self._db.execute("SELECT id FROM drafts WHERE turn = ?", (turn,)).fetchone()
        if row is None:
            raise AccountingError(f"no draft is committed for turn {turn}", where=str(self.path))
        return str(row[0])

    def accepted_ids(self) -> Iterator[str]:
        """Ids of the accepted drafts in plan order."""
        for (id,) in self._db.execute("SELECT id FROM drafts WHERE status = 'accepted' ORDER BY turn"):
            yield id

    def tally(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Counts by the given columns of `seeds`, `drafts` or `files`."""
        names = ", ".join(columns)
        return self._db.execute(
            f"SELECT {names}, COUNT(*) FROM {table} GROUP BY {names} ORDER BY {names}"  # noqa: S608
        ).fetchall()

    # Endpoints

    def add_flow(self, points: Sequence[tuple[Any, ...]]) -> None:
        """Enter how many requests endpoints were given: (at, sm, endpoint, limit, in flight, waiting, event)."""
        if points:
            with self._transaction() as db:
                db.executemany("INSERT INTO flow VALUES (?, ?, ?, ?, ?, ?, ?)", points)

    def flow(self) -> list[tuple[float, str, str, int, int, int, str | None]]:
        """What `add_flow` entered, in order of time."""
        return self._db.execute("SELECT * FROM flow ORDER BY at, rowid").fetchall()

    # Calls

    def add_calls(self, calls: Sequence[Call]) -> None:
        """Journal finished calls in one transaction; they are durable when this returns."""
        with self._transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
                [
                    (c.key, c.agent, c.sm, c.usage.get("prompt", 0), c.usage.get("cached", 0),
                     c.usage.get("completion", 0), c.seconds, c.error, zlib.compress(json.dumps(asdict(c)).encode()))
                    for c in calls
                ],
            )  # fmt: skip

    def call(self, key: str) -> tuple[Call | None, int | None]:
        """A journaled call, or the shard whose trace segment it has been rolled into, or neither."""
        row = self._reader.execute("SELECT body, shard FROM calls WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None, None
        body, shard = row
        if body is None:
            return None, shard
        fields = json.loads(zlib.decompress(body))
        return Call(**{**fields, "messages": tuple(fields["messages"])}), None

    def call_usage(self) -> list[Usage]:
        """What each agent used of each SM."""
        rows = self._db.execute(
            "SELECT agent, sm, COUNT(*), SUM(prompt), SUM(cached), SUM(completion), SUM(seconds) FROM calls"
            " GROUP BY agent, sm ORDER BY agent, sm"
        )
        return [Usage(*row) for row in rows]

    def tokens_of_drafts(self) -> dict[str, int]:
        """SM tokens by the status of the draft they were spent on."""
        return dict(self._db.execute("SELECT status, SUM(tokens) FROM drafts GROUP BY status").fetchall())


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full or failing disk into a StorageError that names the path and the free space."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not any(word in str(error) for word in ("full", "disk I/O")):
            raise
        raise _storage_error(path, str(error)) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise
        raise _storage_error(path, error.strerror or str(error)) from error


def _storage_error(path: Path, what: str) -> StorageError:
    folder = next(parent for parent in (path, *path.parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free
    return StorageError(
        f"cannot write: {what} ({free / 2**20:.0f} MiB free)",
        where=str(path),
        remedy="make room, then run the same command again: nothing that was journaled is lost",
    )


def _configure(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA foreign_keys=ON")


def _acquire(path: Path) -> IO[str]:
    """Own the ledger until the process ends; the kernel drops the lock even after kill -9."""
    with storage_errors(path):
        lock = open(path.with_suffix(".lock"), "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        owner = lock.read().strip() or "another process"
        lock.close()
        raise RunFolderError(
            f"in use by {owner}", where=str(path.parent), remedy="wait for that run, or stop it with Ctrl-C"
        ) from error
    lock.seek(0)
    lock.truncate()
    lock.write(f"process {os.getpid()} on {socket.gethostname()}")
    lock.flush()
    return lock
