"""The ledger: one SQLite file that is the truth about a run.

It holds every committed draft, every file with its checksum, and the calls whose drafts have not been committed yet;
of calls that lie in files it knows a few bytes. A file that the ledger does not list is not part of the corpus. One
process owns it at a time; SQLite runs in WAL mode with synchronous=FULL, so what was committed survives a power cut.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, get_args

from understudy.corpus.storage import acquire, storage_errors
from understudy.errors import AccountingError, RunFolderError
from understudy.nouns import Call, Example, Status

SCHEMA_VERSION = 4
FLOW_POINTS = 20_000
"""Uneventful moments of the endpoints' traces that are kept at most: some half hour at full detail."""
NO_SHARD = -1
"""Of files that belong to the run and to no shard: its seeds."""
STATUSES: tuple[Status, ...] = get_args(Status)
# Ids and keys are kept as bytes and statuses as numbers: at a hundred million drafts it is these that count.
# Where calls have been rolled out there is room to give back when the ledger is closed.
PRAGMAS = "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE files(
    name TEXT PRIMARY KEY, shard INTEGER NOT NULL, sha256 BLOB NOT NULL, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE reasons(number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE drafts(
    turn INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, status INTEGER NOT NULL,
    reason INTEGER REFERENCES reasons(number), tokens INTEGER NOT NULL, shard INTEGER NOT NULL) STRICT;
CREATE TABLE calls(
    key BLOB PRIMARY KEY, agent TEXT NOT NULL, sm TEXT NOT NULL, reused INTEGER NOT NULL, prompt INTEGER NOT NULL,
    cached INTEGER NOT NULL, completion INTEGER NOT NULL, seconds REAL NOT NULL, body BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE rolled(key BLOB PRIMARY KEY, shard INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE usage(
    agent TEXT NOT NULL, sm TEXT NOT NULL, calls INTEGER NOT NULL, reused INTEGER NOT NULL, prompt INTEGER NOT NULL,
    cached INTEGER NOT NULL, completion INTEGER NOT NULL, seconds REAL NOT NULL, PRIMARY KEY(agent, sm))
    STRICT, WITHOUT ROWID;
CREATE TABLE busy(sm TEXT PRIMARY KEY, seconds REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE flow(
    at REAL NOT NULL, sm TEXT NOT NULL, endpoint TEXT NOT NULL, cap INTEGER NOT NULL, in_flight INTEGER NOT NULL,
    waiting INTEGER NOT NULL, event TEXT) STRICT;
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
    """Of a file that several shards were merged into, the last of them."""
    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one agent used of one SM, in tokens and seconds that this run paid for."""

    agent: str
    sm: str
    calls: int
    reused: int
    """Of the calls, those that were taken from another corpus, free of charge."""
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
        lock = acquire(path)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        with storage_errors(path):
            _configure(db)
            db.executescript(f"{PRAGMAS} BEGIN IMMEDIATE; {TABLES}")
            meta = {**meta, "schema": str(SCHEMA_VERSION)}
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            db.execute("COMMIT")
        return cls(path, db, lock)

    @classmethod
    def open(cls, path: Path, *, own: bool = True) -> Ledger:
        """An existing ledger; with `own=False` for reading beside its owner.

        Raises:
            RunFolderError: when it is missing, locked by another process, damaged, or of another version.
            StorageError: when the disk is full or fails.
        """
        if not path.is_file():
            raise RunFolderError(
                "not a corpus folder: it has no ledger.db",
                where=str(path.parent),
                remedy="give the output folder of `understudy run`",
            )
        lock = acquire(path) if own else None
        try:
            version = schema_version(path)
            if version != SCHEMA_VERSION:
                _bring_up(path, version, own)
            with storage_errors(path):
                db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
                _configure(db)
        except BaseException:
            if lock:
                lock.close()
            raise
        return cls(path, db, lock)

    def close(self) -> None:
        """Close the file and give up ownership."""
        self._reader.close()
        if self._lock:
            with suppress(sqlite3.Error):  # a full disk, say: the room is given back another time
                self._db.executescript("PRAGMA incremental_vacuum")
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

    def facts(self) -> dict[str, str]:
        """All of the run's own facts."""
        return dict(self._db.execute("SELECT key, value FROM meta WHERE key != 'schema'"))

    def set_meta(self, **values: str) -> None:
        """Replace values of the run's own facts."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    # Drafts and shards

    def enter(self, files: Sequence[File]) -> None:
        """Enter files that belong to no shard, already durable."""
        with self._transaction() as db:
            _enter_files(db, files)

    def commit(self, shard: int, drafts: Sequence[Draft], files: Sequence[File], rolled: Sequence[Call]) -> None:
        """Enter a shard: its files (already durable), its drafts, and the calls that lie in its trace segment.

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
            _enter_files(db, files)
            reasons = {(draft.example.reason,) for draft in drafts if draft.example.reason is not None}
            db.executemany("INSERT OR IGNORE INTO reasons(text) VALUES (?)", sorted(reasons))
            db.executemany(
                "INSERT INTO drafts VALUES (?, ?, ?, (SELECT number FROM reasons WHERE text = ?), ?, ?)",
                [
                    (d.turn, bytes.fromhex(d.example.id), STATUSES.index(d.example.status), d.example.reason, d.tokens,
                     shard)
                    for d in drafts
                ],
            )  # fmt: skip
            db.executemany(_ADD_USAGE, [_usage_row(call) for call in rolled])
            db.executemany("INSERT OR IGNORE INTO rolled VALUES (?, ?)", [(short(call.key), shard) for call in rolled])
            db.executemany("DELETE FROM calls WHERE key = ?", [(digest(call.key),) for call in rolled])

    def merge(self, shards: range, files: Sequence[File]) -> None:
        """Enter files, already durable, in the place of all files of a range of shards.

        From then on their drafts count as the last shard's. Where calls have been rolled out to is left as it is:
        `call` looks for the segment that a shard has become part of.
        """
        with self._transaction() as db:
            (rows,) = db.execute(
                "SELECT COALESCE(SUM(rows), 0) FROM files WHERE shard >= ? AND name NOT GLOB 'traces/*'"
                " AND name NOT GLOB 'index/*'",
                (shards[0],),
            ).fetchone()  # each draft of these shards is one of them, so this is where they begin
            db.execute(
                "UPDATE drafts SET shard = ? WHERE turn >= ? AND shard < ?",
                (shards[-1], self.next_turn() - rows, shards[-1]),
            )
            db.execute("DELETE FROM files WHERE shard BETWEEN ? AND ?", (shards[0], shards[-1]))
            _enter_files(db, files)

    def go_back(self, shard: int, calls: Sequence[Call], rolled: Iterable[Call]) -> None:
        """Forget a shard and those after it.

        Args:
            shard: the first to forget.
            calls: those of their trace segments that are at hand: journaled again as of drafts not committed.
            rolled: all calls in the segments of earlier shards, to count them again.
        """
        with self._transaction() as db:
            # Calls are entered under the shards that a merged one was made of.
            last = "SELECT COALESCE(MAX(shard), -1) FROM drafts WHERE shard < ?"
            db.execute(f"DELETE FROM rolled WHERE shard > ({last})", (shard,))  # noqa: S608
            db.execute("DELETE FROM drafts WHERE shard >= ?", (shard,))
            db.execute("DELETE FROM files WHERE shard >= ?", (shard,))
            db.execute("DELETE FROM usage")
            db.executemany(_ADD_USAGE, map(_usage_row, rolled))
            db.executemany(_ADD_CALL, map(_call_row, calls))

    def ids_of(self, shard: int) -> list[str]:
        """Ids of the drafts in a shard."""
        return [id.lower() for (id,) in self._db.execute("SELECT hex(id) FROM drafts WHERE shard = ?", (shard,))]

    def turns_of(self, shard: int) -> dict[str, int]:
        """The turns of the drafts in a shard, by their ids."""
        rows = self._db.execute("SELECT hex(id), turn FROM drafts WHERE shard = ?", (shard,))
        return {id.lower(): turn for id, turn in rows}

    def place(self, id: str) -> tuple[int, int]:
        """The turn and the shard of a committed draft.

        Raises:
            AccountingError: when no draft has this id.
        """
        row = self._db.execute("SELECT turn, shard FROM drafts WHERE id = ?", (bytes.fromhex(id),)).fetchone()
        if row is None:
            raise AccountingError(f"no draft {id} is committed", where=str(self.path))
        return row[0], row[1]

    def shards(self) -> list[int]:
        """The numbers of the shards there are; of those that were merged, the last."""
        return [shard for (shard,) in self._db.execute("SELECT DISTINCT shard FROM drafts ORDER BY shard")]

    def first_shard_alone(self, span: int) -> int | None:
        """The first shard that could be merged: one with a file that does not end a span of so many."""
        query = "SELECT MIN(shard) FROM files WHERE shard >= 0 AND shard % ? != ?"
        shard: int | None
        (shard,) = self._db.execute(query, (span, span - 1)).fetchone()
        return shard

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
        return _files(
            self._db.execute(
                "SELECT * FROM files WHERE substr(name, 1, ?) = ? ORDER BY shard, name", (len(prefix), prefix)
            )
        )

    def files_of(self, shard: int) -> list[File]:
        """The committed files of a shard."""
        return _files(self._db.execute("SELECT * FROM files WHERE shard = ? ORDER BY name", (shard,)))

    def draft_ids(
        self, prefix: str = "", status: str | None = None, limit: int = 20
    ) -> list[tuple[str, Status, str | None]]:
        """Drafts as (id, status, reason), by id prefix and status, in plan order."""
        try:
            ends = bytes.fromhex(prefix.ljust(32, "0")), bytes.fromhex(prefix.ljust(32, "f"))
        except ValueError:
            return []  # ids are written in hexadecimal digits
        query = (
            "SELECT hex(id), status, text FROM drafts LEFT JOIN reasons ON reason = number"
            " WHERE id BETWEEN ? AND ? AND status BETWEEN ? AND ? ORDER BY turn LIMIT ?"
        )
        statuses = (0, len(STATUSES)) if status is None else (STATUSES.index(status),) * 2
        found = self._db.execute(query, (*ends, *statuses, limit))
        return [(id.lower(), STATUSES[code], reason) for id, code, reason in found]

    def status(self, turn: int) -> Status | None:
        """What became of the draft of a turn; None if none is committed for it."""
        row = self._reader.execute("SELECT status FROM drafts WHERE turn = ?", (turn,)).fetchone()
        return None if row is None else STATUSES[row[0]]

    def draft_id(self, turn: int) -> str:
        """The id of the draft that was committed for a turn.

        Raises:
            AccountingError: when there is none.
        """
        row = self._db.execute("SELECT hex(id) FROM drafts WHERE turn = ?", (turn,)).fetchone()
        if row is None:
            raise AccountingError(f"no draft is committed for turn {turn}", where=str(self.path))
        return str(row[0]).lower()

    def turn(self, id: str) -> int:
        """The turn of a committed draft.

        Raises:
            AccountingError: when no draft has this id.
        """
        return self.place(id)[0]

    def shard_from(self, turn: int) -> tuple[int, dict[int, str]]:
        """The shard that a turn was committed in, and the ids of its drafts from that turn on, by turn."""
        found = self._db.execute(
            "SELECT turn, hex(id), shard FROM drafts WHERE turn >= ?1"
            " AND shard = (SELECT shard FROM drafts WHERE turn = ?1) ORDER BY turn",
            (turn,),
        ).fetchall()
        return (found[0][2] if found else NO_SHARD), {turn: id.lower() for turn, id, _ in found}

    def accepted_ids(self) -> Iterator[str]:
        """Ids of the accepted drafts in plan order."""
        query = "SELECT hex(id) FROM drafts WHERE status = ? ORDER BY turn"
        for (id,) in self._db.execute(query, (STATUSES.index("accepted"),)):
            yield id.lower()

    def costs(self) -> list[tuple[bool, int]]:
        """Of each draft in plan order, whether it was accepted and the SM tokens it took."""
        query = "SELECT status = ?, tokens FROM drafts ORDER BY turn"
        return [(bool(good), tokens) for good, tokens in self._db.execute(query, (STATUSES.index("accepted"),))]

    def drafts_by_status(self) -> dict[Status, int]:
        """How many drafts have each status, those that none has left out."""
        found = self._db.execute("SELECT status, COUNT(*) FROM drafts GROUP BY status")
        return {STATUSES[code]: count for code, count in found}

    def drafts_by_reason(self) -> list[tuple[Status, str | None, int]]:
        """How many drafts have each status and reason."""
        found = self._db.execute(
            "SELECT status, text, COUNT(*) FROM drafts LEFT JOIN reasons ON reason = number GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [(STATUSES[code], reason, count) for code, reason, count in found]

    def tokens_by_status(self) -> dict[Status, int]:
        """SM tokens by the status of the draft they were spent on."""
        found = self._db.execute("SELECT status, SUM(tokens) FROM drafts GROUP BY status")
        return {STATUSES[code]: tokens for code, tokens in found}

    def seeds_by_state(self) -> dict[str, int]:
        """Seeds that are done (some draft of theirs did not fail), failed (all did), and pending (none yet)."""
        seeds = self.count_seeds()
        found = dict(
            self._db.execute(
                "SELECT failed, COUNT(*) FROM (SELECT MIN(status = ?) AS failed FROM drafts GROUP BY turn % ?)"
                " GROUP BY failed",
                (STATUSES.index("failed"), seeds),
            )
        )
        return {"done": found.get(0, 0), "failed": found.get(1, 0), "pending": seeds - sum(found.values())}

    def count_seeds(self) -> int:
        """How many seeds the run has."""
        return sum(file.rows for file in self.files("seeds/"))

    # Engines

    def set_busy(self, seconds: Mapping[str, float]) -> None:
        """Enter how long each SM has worked on the run's requests, in all sittings."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO busy VALUES (?, ?)", list(seconds.items()))

    def busy(self) -> dict[str, float]:
        """What `set_busy` entered last."""
        return dict(self._db.execute("SELECT sm, seconds FROM busy"))

    def add_flow(self, points: Sequence[tuple[Any, ...]]) -> None:
        """Enter how many requests endpoints were given: (at, sm, endpoint, limit, in flight, waiting, event).

        Of a run of days every second moment without an event is dropped, as often as they become too many.
        """
        if points:
            with self._transaction() as db:
                db.executemany("INSERT INTO flow VALUES (?, ?, ?, ?, ?, ?, ?)", points)
                ((count,),) = db.execute("SELECT COUNT(*) FROM flow WHERE event IS NULL")
                if count > FLOW_POINTS:
                    db.execute(_THIN_FLOW)

    def flow(self) -> list[tuple[float, str, str, int, int, int, str | None]]:
        """What `add_flow` entered, in order of time."""
        return self._db.execute("SELECT * FROM flow ORDER BY at, rowid").fetchall()

    # Calls

    def add_calls(self, calls: Sequence[Call]) -> None:
        """Journal finished calls in one transaction; they are durable when this returns."""
        with self._transaction() as db:
            db.executemany(_ADD_CALL, map(_call_row, calls))

    def call(self, key: str) -> tuple[Call | None, str | None]:
        """A journaled call, or the trace segment that it has probably been rolled into, or neither."""
        row = self._reader.execute("SELECT body FROM calls WHERE key = ?", (digest(key),)).fetchone()
        if row is None:
            segment = self._reader.execute(_SEGMENT, (short(key),)).fetchone()
            return None, segment[0] if segment else None
        fields = json.loads(zlib.decompress(row[0]))
        return Call(**{**fields, "messages": tuple(fields["messages"])}), None

    def rolled_into(self, key: str) -> int | None:
        """The shard whose trace segment holds a call, if one does; of shards that were merged, the last."""
        shard: int | None
        (shard,) = self._reader.execute(_SEGMENT_SHARD, (short(key),)).fetchone()
        return shard

    def count_calls(self) -> tuple[int, int]:
        """How many calls the ledger holds, and how many lie in trace segments."""
        ((live,),) = self._db.execute("SELECT COUNT(*) FROM calls")
        ((rolled,),) = self._db.execute("SELECT COALESCE(SUM(calls), 0) FROM usage")
        return live, rolled

    def bytes_of_calls(self) -> int:
        """What the bodies of the calls in the ledger take."""
        return int(self._db.execute("SELECT COALESCE(SUM(LENGTH(body)), 0) FROM calls").fetchone()[0])

    def call_usage(self) -> list[Usage]:
        """What each agent used of each SM."""
        rows = self._db.execute(
            "SELECT agent, sm, SUM(calls), SUM(reused), SUM(prompt), SUM(cached), SUM(completion), SUM(seconds) FROM ("
            " SELECT * FROM usage UNION ALL SELECT agent, sm, 1, reused, prompt, cached, completion, seconds FROM calls"
            ") GROUP BY agent, sm ORDER BY agent, sm"
        )
        return [Usage(*row) for row in rows]


_THIN_FLOW = """
DELETE FROM flow WHERE rowid IN (
    SELECT rowid FROM (SELECT rowid, ROW_NUMBER() OVER (ORDER BY rowid) AS number FROM flow WHERE event IS NULL)
    WHERE number % 2 = 0)
"""
_ADD_USAGE = """
INSERT INTO usage VALUES (?, ?, 1, ?, ?, ?, ?, ?) ON CONFLICT(agent, sm) DO UPDATE SET
    calls = calls + 1, reused = reused + excluded.reused, prompt = prompt + excluded.prompt,
    cached = cached + excluded.cached, completion = completion + excluded.completion,
    seconds = seconds + excluded.seconds
"""
_ADD_CALL = "INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
# The segment of the shard, or the one that it was merged into: names follow the shards.
_SEGMENT = """
SELECT name FROM files WHERE name > 'traces/' AND name < 'traces0'
    AND shard >= (SELECT shard FROM rolled WHERE key = ?) ORDER BY name LIMIT 1
"""
_SEGMENT_SHARD = """
SELECT MIN(shard) FROM files WHERE name > 'traces/' AND name < 'traces0'
    AND shard >= (SELECT shard FROM rolled WHERE key = ?)
"""


def _call_row(call: Call) -> tuple[Any, ...]:
    return digest(call.key), *_usage_row(call), zlib.compress(json.dumps(asdict(call)).encode())


def _usage_row(call: Call) -> tuple[Any, ...]:
    if call.reused:
        return call.agent, call.sm, 1, 0, 0, 0, 0.0
    counts = (call.usage.get(what, 0) for what in ("prompt", "cached", "completion"))
    return call.agent, call.sm, 0, *counts, call.seconds


def _files(found: Iterable[tuple[Any, ...]]) -> list[File]:
    return [File(name, shard, sha256.hex(), rows, size) for name, shard, sha256, rows, size in found]


def _enter_files(db: sqlite3.Connection, files: Sequence[File]) -> None:
    db.executemany(
        "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
        [(f.name, f.shard, bytes.fromhex(f.sha256), f.rows, f.bytes) for f in files],
    )


def digest(key: str) -> bytes:
    """The name of a call in the ledger."""
    return blake2b(key.encode(), digest_size=16).digest()


def short(key: str) -> bytes:
    """Half as long, for the many keys of calls that lie in trace segments, which hold the whole key."""
    return digest(key)[:8]


def schema_version(path: Path) -> int:
    """The version of a ledger's tables.

    Raises:
        RunFolderError: when it is damaged.
        StorageError: when the disk is full or fails.
    """
    try:
        with storage_errors(path), closing(sqlite3.connect(path, timeout=10)) as db:
            return int(db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()[0])
    except (sqlite3.DatabaseError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"ledger is damaged: {error}", where=str(path), remedy=f"understudy journal repair {path.parent}"
        ) from error


def _bring_up(path: Path, version: int, own: bool) -> None:
    from understudy.corpus import migrations  # which needs the rest of this room

    if not own and version < SCHEMA_VERSION:
        raise RunFolderError(
            f"written by an earlier version (ledger schema {version}, this is {SCHEMA_VERSION})",
            where=str(path),
            remedy="resume it with `understudy run`, or `understudy journal repair` it: either brings it up to date",
        )
    migrations.migrate(path, version)


def _configure(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA foreign_keys=ON")
