"""Summaries of all drafts of a corpus, apart from their bodies: what a table of a million rows is filtered by.

The summaries are a snapshot that is made of the committed files and can be thrown away: a DuckDB file with a few short
columns for each draft, verdict and call, and an SQLite file that knows which words stand where (FTS5). Bodies are not
in it; they are read by id from the run folder. Nothing is sampled and nothing cut off: what has not been read yet is
counted and told.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa

from understudy.corpus import RunFolder
from understudy.corpus.rows import CALL
from understudy.corpus.storage import acquire, cache
from understudy.errors import RunFolderError
from understudy.nouns import address
from understudy.traces.filters import Filter

EVERYTHING = Filter()
VERSION = "2"
"""Of what the snapshot holds; another one is made anew."""
MEMORY = "512MB"
_BATCH = 4096
HOMES = ("data/", "rejected/", "duplicates/", "failed/")
_TABLES = """
CREATE TABLE drafts(
    turn BIGINT, id VARCHAR, status VARCHAR, reason VARCHAR, seed VARCHAR, source VARCHAR, kind VARCHAR, draw INTEGER,
    persona VARCHAR, skill VARCHAR, leaf VARCHAR, path VARCHAR[], stages VARCHAR, tokens BIGINT, asked VARCHAR,
    words INTEGER);
CREATE TABLE verdicts(turn BIGINT, verifier VARCHAR, passed BOOLEAN, score DOUBLE, alone BOOLEAN);
CREATE TABLE names(kind VARCHAR, value VARCHAR, PRIMARY KEY(kind, value));
CREATE TABLE personas(id VARCHAR PRIMARY KEY, text VARCHAR);
CREATE TABLE calls(
    turn BIGINT, agent VARCHAR, sm VARCHAR, prompt BIGINT, cached BIGINT, completion BIGINT, seconds DOUBLE,
    error VARCHAR, reused BOOLEAN, asked_at DOUBLE);
"""
# The stages of a draft in the graph's order. What is not a step of the path (the gate, the rules) follows from its end.
_FRESH = """
CREATE OR REPLACE TEMP TABLE fresh AS
WITH read AS (
    SELECT t.turn, r.id, r.status, r.reason, r.seed_id AS seed, r.source, r.seed_kind AS kind, r.draw,
        r.persona.id AS persona, r.persona.text AS persona_text, r.path, r.calls, r.verdicts, r.sm_tokens AS tokens,
        [m.content FOR m IN r.messages] AS said,
        [m.content FOR m IN r.messages IF m.role = 'user'] AS asked,
        [split_part(p, '/', 1) FOR p IN r.path] AS families,
        coalesce(list_contains([m.role FOR m IN r.messages], 'assistant'), false) AS answered,
        [p FOR p IN r.path IF p LIKE 'plan/%'][1] AS planned,
        [p FOR p IN r.path IF p LIKE 'instruct/%'][1] AS instructed
    FROM read_parquet($files, union_by_name = true) r JOIN turns t ON t.id = r.id
)
SELECT *,
    nullif(split_part(planned, '/', 2), '') AS skill,
    coalesce(nullif(split_part(planned, '/', 3), ''), split_part(instructed, '/', 2)) AS leaf,
    array_to_string(list_filter([
        'seed',
        CASE WHEN list_has_any(families, ['persona', 'persona-set']) THEN 'persona' END,
        CASE WHEN list_contains(families, 'transform') THEN 'transform' END,
        CASE WHEN list_contains(families, 'instruct') THEN 'instruct' END,
        CASE WHEN status = 'duplicate' OR answered OR list_contains(families, 'answer') THEN 'gate' END,
        CASE WHEN list_contains(families, 'answer') THEN 'answer' END,
        CASE WHEN list_contains(families, 'refine') THEN 'refine' END,
        CASE WHEN list_contains(families, 'noise') THEN 'noise' END,
        CASE WHEN answered AND (status <> 'failed' OR list_contains(families, 'judge')) AND status <> 'duplicate'
            THEN 'verify' END,
        CASE WHEN list_contains(families, 'judge') THEN 'judge' END,
        status
    ], lambda stage: stage IS NOT NULL), '>') AS stages
FROM read
"""
_DRAFTS = """
INSERT INTO drafts SELECT turn, id, status, reason, seed, source, kind, draw, persona, skill, leaf, path, stages,
    tokens, right(string_split(rtrim(asked[-1]), chr(10) || chr(10))[-1], 240),
    len(string_split_regex(trim(array_to_string(said, ' ')), '\\s+'))
FROM fresh ORDER BY turn
"""
# `alone`: the only one of several that said no.
_VERDICTS = """
INSERT INTO verdicts SELECT turn, verdict.by, verdict.passed, verdict.score, NOT verdict.passed AND nos = 1 AND said > 1
FROM (
    SELECT turn, unnest(verdicts) AS verdict, generate_subscripts(verdicts, 1) AS place, len(verdicts) AS said,
        len([v FOR v IN verdicts IF NOT v.passed]) AS nos
    FROM fresh
) ORDER BY turn, place
"""
_NAMES = """
INSERT OR IGNORE INTO names
SELECT DISTINCT 'agent', step FROM (SELECT unnest(path) AS step FROM fresh) WHERE NOT starts_with(step, 'plan/')
UNION ALL SELECT DISTINCT 'by', verdict.by FROM (SELECT unnest(verdicts) AS verdict FROM fresh)
"""
_PERSONAS = """
INSERT OR IGNORE INTO personas SELECT persona, any_value(persona_text) FROM fresh WHERE persona IS NOT NULL GROUP BY 1
"""
# A call that several drafts share is the first one's, which paid for it.
_CALLS = """
INSERT INTO calls SELECT o.turn, c.agent, c.sm, c.prompt_tokens, c.cached_tokens, c.completion_tokens, c.seconds,
    c.error, coalesce(c.reused, false), c."at"
FROM (SELECT key, min(turn) AS turn FROM (SELECT turn, unnest(calls) AS key FROM fresh) GROUP BY key) o
JOIN (SELECT * FROM said UNION ALL BY NAME SELECT * FROM read_parquet($files, union_by_name = true)) c ON c.key = o.key
ORDER BY o.turn
"""
_TEXTS = """
SELECT turn, array_to_string(list_concat(coalesce(said, []), [persona_text, source, reason],
    [v.evidence FOR v IN verdicts]), chr(10)) FROM fresh ORDER BY turn
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the summaries are."""

    known: int
    """Drafts that have been read."""
    committed: int
    """Drafts that there are."""

    @property
    def whole(self) -> bool:
        """Whether nothing is left to read."""
        return self.known >= self.committed


class Summary:
    """The summaries of one corpus; any thread may ask, one at a time brings them up to date."""

    def __init__(self, corpus: Path, home: Path | None = None) -> None:
        self.corpus = corpus.resolve()
        self._reading = threading.Lock()
        self._private: Path | None = None
        self._found: tuple[tuple[str, int], np.ndarray[Any, np.dtype[np.int64]]] | None = None
        home = home or cache() / "views" / address("view", str(self.corpus))[:16]
        home.mkdir(parents=True, exist_ok=True)
        try:
            self._lock: IO[str] | None = acquire(home / "view.lock")
        except RunFolderError:  # another viewer has them: they are made once more, for this one alone
            self._lock = None
            home = self._private = Path(tempfile.mkdtemp(prefix="understudy-view-"))
        self._open(home)

    def _open(self, home: Path) -> None:
        self._words_at = home / "words.db"
        self._db = _duckdb(home / "drafts.duckdb")
        self._words = _sqlite(self._words_at)
        if self._stale():
            self._db.close()
            self._words.close()
            for file in home.iterdir():
                if file.suffix != ".lock":
                    file.unlink()
            self._db = _duckdb(home / "drafts.duckdb")
            self._words = _sqlite(self._words_at)
            self._db.execute(f"{_TABLES} CREATE TABLE made(version VARCHAR)")
            self._db.execute("INSERT INTO made VALUES (?)", [VERSION])
            self._words.executescript(
                "CREATE VIRTUAL TABLE words"
                " USING fts5(text, content='', tokenize='porter unicode61 remove_diacritics 2');"
                "CREATE TABLE made(turns INTEGER NOT NULL); INSERT INTO made VALUES (0);"
            )
        (row,) = self.rows("SELECT coalesce(max(turn) + 1, 0) AS known FROM drafts")
        self._known = int(row["known"])

    def _stale(self) -> bool:
        """Whether the snapshot is of another version, half made, or of a corpus that has gone back since."""
        tables = {name for (name,) in self._db.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if "made" not in tables or self._db.execute("SELECT version FROM made").fetchall() != [(VERSION,)]:
            return True
        ((turns,),) = self._words.execute("SELECT turns FROM made")
        last = self._db.execute("SELECT turn, id FROM drafts ORDER BY turn DESC LIMIT 1").fetchone()
        if turns != (0 if last is None else last[0] + 1):
            return True
        if last is None:
            return False
        with RunFolder.read(self.corpus) as folder:
            turn, id = last
            return bool(folder.ledger.next_turn() <= turn or folder.ledger.draft_id(turn) != id)

    def close(self) -> None:
        """Close the files."""
        self._db.close()
        self._words.close()
        if self._lock:
            self._lock.close()
        if self._private:
            shutil.rmtree(self._private, ignore_errors=True)

    def progress(self) -> Progress:
        """How many drafts there are, and how many of them have been read."""
        with RunFolder.read(self.corpus) as folder:
            return Progress(self._known, folder.ledger.next_turn())

    def catch_up(self) -> None:
        """Read what has been committed since; a run that merges its files meanwhile is met again the next time."""
        with self._reading:
            while True:
                try:
                    if not self._read_next():
                        return
                except (duckdb.IOException, FileNotFoundError):
                    return

    def _read_next(self) -> bool:
        """Read the next shard, if there is one."""
        with RunFolder.read(self.corpus) as folder:
            shard, turns = folder.ledger.shard_from(self._known)
            if not turns:
                return False
            files = [file.name for file in folder.ledger.files_of(shard)]
        homes = [str(self.corpus / name) for name in files if name.startswith(HOMES)]
        traces = [str(self.corpus / name) for name in files if name.startswith("traces/")]
        with closing(self._db.cursor()) as db:
            db.register("turns", pa.table({"turn": list(turns), "id": list(turns.values())}))
            db.execute(_FRESH, {"files": homes})
            db.begin()
            db.execute(_DRAFTS)
            db.execute(_VERDICTS)
            db.execute(_NAMES)
            db.execute(_PERSONAS)
            if traces:
                db.register("said", CALL.empty_table())  # has the columns that files of earlier versions lack
                db.execute(_CALLS, {"files": traces})
            # Words last: a file that is merged away meanwhile is met before any is entered.
            texts = db.execute(_TEXTS)
            with self._words:
                while rows := texts.fetchmany(_BATCH):
                    self._words.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", rows)
                self._words.execute("UPDATE made SET turns = ?", (max(turns) + 1,))
            db.commit()
        self._known = max(turns) + 1
        return True

    # Questions

    def rows(self, select: str, chosen: Filter = EVERYTHING, **values: Any) -> list[dict[str, Any]]:
        """The rows of a query of the tables, in which `chosen` is the drafts that a filter lets through."""
        where, given = chosen.where()
        with closing(self.cursor()) as db:
            if (query := chosen.match()) is not None:
                db.register("matches", pa.table({"turn": self._turns_with(query, self._known)}))
                where += " AND turn IN (SELECT turn FROM matches)"
            if chosen.review:
                with RunFolder.read(self.corpus) as folder:
                    standing = folder.word().standing
                    given["share"] = folder.recipe.review
                labels = [review.label for review in standing.values()]
                columns = {"id": pa.array(standing, pa.string()), "label": pa.array(labels, pa.string())}
                db.register("reviews", pa.table(columns))
            found = db.execute(
                f"WITH chosen AS (SELECT * FROM drafts WHERE {where}) {select}",  # noqa: S608
                {name: value for name, value in (given | values).items() if f"${name}" in where + select},
            )
            return fetched(found)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of one's own to the tables; to be closed."""
        return self._db.cursor()

    def _turns_with(self, query: str, known: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The turns of the drafts whose text a query of FTS5 finds, all of them.

        A page asks several questions of the same drafts: what was found last is kept, until more drafts are `known`.
        """
        last = self._found
        if last is not None and last[0] == (query, known):
            return last[1]
        with closing(sqlite3.connect(self._words_at, timeout=10)) as db:
            # As one text: a million rows would each pass through Python.
            ((found,),) = db.execute("SELECT group_concat(rowid) FROM words WHERE words MATCH ?", (query,))
        turns = np.fromstring(found, dtype=np.int64, sep=",") if found else np.zeros(0, dtype=np.int64)
        self._found = (query, known), turns
        return turns


def fetched(found: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """All rows of an answer, by the names of their columns."""
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _duckdb(path: Path) -> duckdb.DuckDBPyConnection:
    """A database of bounded memory that reads no other files than it is told to and loads no extension."""
    settings: dict[str, str | bool | int | float | list[str]] = {"memory_limit": MEMORY, "threads": 2}
    settings |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    return duckdb.connect(str(path), config=settings)


def _sqlite(path: Path) -> sqlite3.Connection:
    """Words are a snapshot: a crash may cost them."""
    db = sqlite3.connect(path, check_same_thread=False, timeout=10)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;")
    return db
