"""Looking a run folder over, and setting right what can be.

Every file of a shard can be made again from the journal, so a damaged shard is mended by going back to before it: its
drafts and those after it are taken out, the calls behind them return from the trace segments into the ledger, and the
same `understudy run` makes the same drafts again without asking the SM, but for calls whose segment was itself damaged.
A damaged ledger is made anew from the files.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.corpus import rows, seeds
from understudy.corpus.folder import FACTS, HOMES, RunFolder
from understudy.corpus.ledger import NO_SHARD, Draft, File, Ledger, schema_version
from understudy.corpus.readers import read_sources
from understudy.corpus.storage import acquire
from understudy.errors import AccountingError, RunFolderError
from understudy.nouns import Call, address

LEDGER = "ledger.db"
SEGMENTS = "traces"
INDEX = "index"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a run folder that is not as it must be."""

    where: str
    """The file, relative to the folder."""
    what: str
    shard: int = NO_SHARD
    """The shard that it belongs to, if it does."""
    harmless: bool = False
    """Nothing of the corpus depends on it; the next run removes it."""


def check(path: Path) -> list[Problem]:
    """Everything that is wrong with a run folder; every byte of it is read.

    Raises:
        RunFolderError: when it is no run folder, or its ledger cannot be opened.
    """
    with RunFolder.read(path) as folder:
        found = list(_files(folder))
        damaged = {problem.shard for problem in found if problem.shard != NO_SHARD and not problem.harmless}
        found += _ledger(folder)
        for shard in folder.ledger.shards():
            if shard not in damaged:
                found += _shard(folder, shard)
        if not damaged:
            try:
                folder.accounting()
            except AccountingError as error:
                found.append(Problem(LEDGER, error.message))
    return found


def _files(folder: RunFolder) -> Iterator[Problem]:
    listed = {file.name: file for file in folder.ledger.files()}
    for name, file in listed.items():
        if (what := rows.damage(folder.path / name, file)) is not None:
            yield Problem(name, what, file.shard)
    for home in HOMES:
        for path in sorted((folder.path / home).glob("*")):
            if path.is_file() and f"{home}/{path.name}" not in listed:
                yield Problem(f"{home}/{path.name}", "is not in the ledger: left by a crash", harmless=True)


def _ledger(folder: RunFolder) -> Iterator[Problem]:
    with closing(sqlite3.connect(f"file:{folder.ledger.path}?mode=ro", uri=True)) as db:
        for (said,) in db.execute("PRAGMA integrity_check"):
            if said != "ok":
                yield Problem(LEDGER, said)


def _shard(folder: RunFolder, shard: int) -> Iterator[Problem]:
    """Whether files, ledger and journal say the same of one shard."""
    entered = Counter(folder.ledger.ids_of(shard))
    written: Counter[str] = Counter()
    files = folder.ledger.files_of(shard)
    segments = [file for file in files if file.name.startswith(f"{SEGMENTS}/")]
    near = {row["key"] for row in rows.read(folder.path, segments, ["key"])}
    for file in files:
        if file in segments or file.name.startswith(f"{INDEX}/"):
            continue
        for row in rows.read(folder.path, [file], ["id", "calls"]):
            written[row["id"]] += 1
            for key in row["calls"]:
                if key not in near and folder.call(key) is None:
                    yield Problem(file.name, f"example {row['id']} names call {key}, which is not journaled", shard)
    for id in sorted((entered | written).keys()):
        if (entered[id], written[id]) != (1, 1):
            yield Problem(LEDGER, f"example {id}: {entered[id]} times in the ledger, {written[id]} in files", shard)


def repair(path: Path) -> list[str]:
    """Set right what can be, and say what was done; run the recipe again to make what was taken out.

    Raises:
        RunFolderError: when it is no run folder, a run holds it, or seeds are damaged and their sources have changed.
    """
    done: list[str] = []
    if (path / FACTS).is_file():
        with acquire(path / LEDGER):
            if _is_damaged(path / LEDGER):
                rebuild(path)
                done.append(f"{LEDGER}: made anew from the files; calls of drafts that were not committed are lost")
    ledger = Ledger.open(path / LEDGER)
    with closing(ledger):
        folder = RunFolder(path, ledger, RunFolder.recipe_of(ledger))
        problems = list(_files(folder))
        for problem in problems:
            if problem.harmless:
                (path / problem.where).unlink()
                done.append(f"{problem.where}: removed, the ledger does not know it")
            elif problem.where.startswith(f"{seeds.HOME}/"):
                _write_seeds_again(folder)
                done.append(f"{problem.where}: written again from the sources")
        damaged = {problem.shard for problem in problems if problem.shard != NO_SHARD and not problem.harmless}
        damaged |= {
            problem.shard for shard in ledger.shards() if shard not in damaged for problem in _shard(folder, shard)
        }
        if damaged:
            done.append(_go_back(folder, min(damaged)))
    return done


def _is_damaged(ledger: Path) -> bool:
    if not ledger.is_file():
        return True
    try:
        schema_version(ledger)
        with closing(sqlite3.connect(ledger)) as db:
            ((said,),) = db.execute("PRAGMA quick_check(1)")
            return bool(said != "ok")
    except (RunFolderError, sqlite3.DatabaseError):
        return True


def _go_back(folder: RunFolder, shard: int) -> str:
    """Take out a shard and those after it; their calls return to the ledger."""
    ledger = folder.ledger
    doomed = [file for number in ledger.shards() if number >= shard for file in ledger.files_of(number)]
    calls: list[Call] = []
    for file in doomed:
        if file.name.startswith(f"{SEGMENTS}/") and rows.damage(folder.path / file.name, file) is None:
            calls += rows.calls(folder.path, file)
    earlier = [file for file in ledger.files(f"{SEGMENTS}/") if file.shard < shard]
    first = ledger.next_turn()
    ledger.go_back(shard, calls, (call for file in earlier for call in rows.calls(folder.path, file)))
    for file in doomed:
        (folder.path / file.name).unlink(missing_ok=True)
    taken = first - ledger.next_turn()
    return f"{taken} drafts were taken out, with {len(calls)} of their calls at hand: run the recipe again to make them"


def _write_seeds_again(folder: RunFolder) -> None:
    recipe = folder.recipe
    known = {file.name: file.sha256 for file in folder.ledger.files(f"{seeds.HOME}/")}
    for ranked in (seeds.ranked, iter):  # earlier versions did not rank them
        read = ranked(read_sources(recipe))
        shuffled = ((n, seed, address(recipe.seed, seed.id)) for n, seed in read)
        files, _ = seeds.place(folder.path, shuffled, recipe.test_share)
        if {file.name: file.sha256 for file in files} == known:
            return
    raise RunFolderError(
        "its seeds are damaged, and their sources are not what they were",
        where=str(folder.path),
        expected="the files that the run was begun with",
        remedy="bring the sources back, or restore `seeds/` from a copy of the folder",
    )


def rebuild(path: Path) -> None:
    """Make the ledger anew from `run.json` and the files; of what lies past the first gap only the calls are kept.

    Raises:
        RunFolderError: when `run.json` or the seeds cannot be read.
    """
    meta = _facts(path)
    damaged = path / LEDGER
    for suffix in ("", "-wal", "-shm"):
        if (part := damaged.with_name(damaged.name + suffix)).exists():
            part.replace(part.with_name(f"damaged-{part.name}"))
    building = path / ".ledger.db"
    building.unlink(missing_ok=True)
    with closing(Ledger.create(building, meta)) as ledger:
        files = [_measured(path, file, NO_SHARD) for file in sorted((path / seeds.HOME).glob("*.parquet"))]
        ledger.enter(files)
        folder = RunFolder(path, ledger, RunFolder.recipe_of(ledger))
        positions = {seed: position for position, seed in enumerate(seeds.ids(path, files))}
        while (found := _next_shard(folder, positions)) is not None:
            ledger.commit(*found)
        _save_calls(folder)
    building.with_suffix(".lock").unlink(missing_ok=True)
    building.replace(damaged)


def _save_calls(folder: RunFolder) -> None:
    """Calls in segments past a gap return to the ledger: what is made of them again costs nothing."""
    listed = {file.name for file in folder.ledger.files(f"{SEGMENTS}/")}
    for path in sorted((folder.path / SEGMENTS).glob("*.parquet")):
        if f"{SEGMENTS}/{path.name}" not in listed:
            with suppress(OSError, KeyError, pa.ArrowException):
                calls = list(rows.calls(folder.path, _measured(folder.path, path, NO_SHARD)))
                folder.ledger.add_calls([call for call in calls if folder.call(call.key) is None])


def _facts(path: Path) -> dict[str, str]:
    try:
        facts: dict[str, str] = json.loads((path / FACTS).read_text(encoding="utf-8"))
        return facts
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"ledger and {FACTS} are both damaged: {error}", where=str(path), remedy="restore it from a copy"
        ) from error


def _measured(path: Path, file: Path, shard: int) -> File:
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    count = pq.read_metadata(file).num_rows
    return File(file.relative_to(path).as_posix(), shard, digest, count, file.stat().st_size)


_NAME = re.compile(r"(?:[a-z]+-)?(\d{5})(?:-(\d{5}))?\.parquet")
_Shard = tuple[int, list[Draft], list[File], list[Call]]


def _next_shard(folder: RunFolder, positions: dict[str, int]) -> _Shard | None:
    """What the files say of the shard that comes next, or of all that it was merged with."""
    first = folder.ledger.next_shard()
    found: defaultdict[int, list[Path]] = defaultdict(list)
    for home in HOMES:
        for file in (folder.path / home).glob("*.parquet"):
            if home != seeds.HOME and (name := _NAME.fullmatch(file.name)) and int(name[1]) == first:
                found[int(name[2] or first)].append(file)
    # The merged files first: a crash may have left those they were made from.
    read = (_read_shard(folder, last, sorted(found[last]), positions) for last in sorted(found, reverse=True))
    return next((shard for shard in read if shard is not None), None)


def _read_shard(folder: RunFolder, shard: int, found: list[Path], positions: dict[str, int]) -> _Shard | None:
    """What the files of a shard say, if they are all there and follow what came before."""
    try:
        files = [_measured(folder.path, file, shard) for file in found]
        drafts: list[Draft] = []
        calls: list[Call] = []
        for file in files:
            if file.name.startswith(f"{SEGMENTS}/"):
                calls += rows.calls(folder.path, file)
            elif not file.name.startswith(f"{INDEX}/"):
                for row in rows.read(folder.path, [file]):
                    turn = row["draw"] * len(positions) + positions[row["seed_id"]]
                    drafts.append(Draft(turn, rows.example(row), row["sm_tokens"]))
    except (OSError, KeyError, RunFolderError, pa.ArrowException):
        return None
    drafts.sort(key=lambda draft: draft.turn)
    first = folder.ledger.next_turn()
    near = {call.key for call in calls}
    whole = all(key in near or folder.call(key) for draft in drafts for key in draft.example.calls)
    follow = [draft.turn for draft in drafts] == list(range(first, first + len(drafts)))
    return (shard, drafts, files, calls) if drafts and whole and follow else None
