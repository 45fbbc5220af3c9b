import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.corpus import Ledger
from understudy.corpus.ledger import Usage
from understudy.errors import RunFolderError, StorageError
from understudy.nouns import Seed, address

HOLDER = """
import sys
from pathlib import Path
from understudy.corpus.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Ledger.create(tmp_path / "ledger.db", {"plan": "p1"}).close()
    return tmp_path / "ledger.db"


def seeds(*sizes: int) -> list[tuple[int, Seed, str]]:
    return [
        (source, seed, address(0, seed.id))
        for source, size in enumerate(sizes)
        for seed in (Seed.of("text", f"{source}-{n}", f"{n}:1") for n in range(size))
    ]


def places(tmp_path: Path, test_share: float, *sizes: int) -> list[tuple[int, str]]:
    """(source, split) in plan order."""
    ledger = Ledger.create(tmp_path / "new.db", {})
    count = ledger.register(iter(seeds(*sizes)), test_share)
    found = [ledger.seeds_from(position, 1)[0] for position in range(count)]
    ledger.close()
    (tmp_path / "new.db").unlink()
    return [(int(seed.content.split("-")[0]), split) for seed, split in found]


def test_what_is_written_is_there_when_the_ledger_is_opened_again(path: Path):
    ledger = Ledger.open(path)
    ledger.set_meta(plan="p2")
    ledger.close()
    again = Ledger.open(path)
    assert (again.meta("plan"), again.meta("schema")) == ("p2", "2")
    again.close()


def test_a_ledger_held_by_another_process_names_its_owner_until_that_is_killed(path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError) as caught:
            Ledger.open(path)
        assert f"in use by process {holder.pid} on " in caught.value.message
        assert caught.value.where == str(path.parent)
        reader = Ledger.open(path, own=False)
        assert reader.meta("plan") == "p1"
        reader.close()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        Ledger.open(path).close()
    finally:
        holder.kill()
        holder.communicate()


def test_a_ledger_cannot_be_owned_twice_in_one_process(path: Path):
    owner = Ledger.open(path)
    with pytest.raises(RunFolderError, match=f"process {os.getpid()} on "):
        Ledger.open(path)
    owner.close()
    Ledger.open(path).close()


def test_a_folder_without_a_ledger_is_no_corpus(tmp_path: Path):
    with pytest.raises(RunFolderError, match="not a corpus folder") as caught:
        Ledger.open(tmp_path / "ledger.db")
    assert caught.value.where == str(tmp_path)
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a database " * 100, b"SQLite format 3\0 torn"], ids=["empty", "text", "torn"]
)
def test_a_damaged_ledger_is_named_and_not_left_locked(path: Path, content: bytes):
    good = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match="damaged") as caught:
        Ledger.open(path)
    assert caught.value.where == str(path)
    path.write_bytes(good)
    Ledger.open(path).close()


def test_a_ledger_of_another_version_is_refused(path: Path):
    ledger = Ledger.open(path)
    ledger.set_meta(schema="99")
    ledger.close()
    with pytest.raises(RunFolderError, match="ledger schema 99, this is 2"):
        Ledger.open(path)


def test_sources_take_turns_in_the_plan(tmp_path: Path):
    assert [source for source, _ in places(tmp_path, 0, 2, 4, 1)] == [0, 1, 2, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("share", "sizes", "held_out"),
    [(0.2, (10, 5), [2, 1]), (0.5, (4, 4), [2, 2]), (0.0, (6, 3), [0, 0]), (0.1, (30,), [3]), (0.9, (10,), [9])],
)
def test_each_source_gives_its_share_of_seeds_to_the_test_split(
    tmp_path: Path, share: float, sizes: tuple[int, ...], held_out: list[int]
):
    found = places(tmp_path, share, *sizes)
    assert [found.count((source, "test")) for source in range(len(sizes))] == held_out
    assert len(found) == sum(sizes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.floats(0, 0.99))
def test_the_test_split_is_the_share_rounded_for_any_number_of_seeds(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], share: float
):
    found = places(tmp_path_factory.getbasetemp(), share, *sizes)
    for source, size in enumerate(sizes):
        assert abs(found.count((source, "test")) - size * share) <= 0.5 + 1e-9


def test_the_plan_depends_on_the_run_s_seed_and_not_on_the_order_of_reading(tmp_path: Path):
    def plan(entries: list[tuple[int, Seed, str]]) -> list[str]:
        ledger = Ledger.create(tmp_path / "new.db", {})
        ledger.register(iter(entries), 0.2)
        found = [seed.id for seed in (ledger.seeds_from(n, 1)[0][0] for n in range(ledger.count_seeds()))]
        ledger.close()
        (tmp_path / "new.db").unlink()
        return found

    entries = seeds(8, 3)
    assert plan(entries) == plan(entries[::-1])
    assert plan(entries) != plan([(source, seed, address(1, seed.id)) for source, seed, _ in entries])


def test_a_seed_comes_back_as_it_was(tmp_path: Path):
    ledger = Ledger.create(tmp_path / "new.db", {})
    seed = Seed.of("table", "| a |", "t.csv:2", license="MIT", rows=[["é", "1"]], columns=["a"], tokens=3)
    ledger.register(iter([(0, seed, "x")]), 0)
    assert ledger.seed(seed.id) == seed == ledger.seeds_from(0, 1)[0][0]
    assert ledger.seed("unknown") is None
    ledger.close()


def test_a_call_comes_back_as_it_was_and_is_entered_once(path: Path, call: Callable[..., Any]):
    ledger = Ledger.open(path)
    made = call("k", reply=None, error="truncated", parent="before")
    ledger.add_calls([made])
    ledger.add_calls([call("k", reply="another")])
    assert ledger.call("k") == (made, None)
    assert ledger.call("unknown") == (None, None)
    assert ledger.call_usage() == [Usage("instruct/ask", "sm", 1, 100, 0, 20, 0.25)]
    ledger.close()


def test_a_failed_commit_leaves_nothing_behind(path: Path, call: Callable[..., Any]):
    ledger = Ledger.open(path)
    ledger.add_calls([call("k")])
    with pytest.raises(sqlite3.IntegrityError):
        ledger.commit(0, [], [file := _file("data/a"), file], ["k"])
    assert ledger.files() == []
    assert ledger.call("k")[0] is not None
    ledger.close()


def _file(name: str) -> Any:
    from understudy.corpus.ledger import File

    return File(name, 0, "sha", 1, 10)


def test_a_full_disk_is_told_with_the_free_space_and_what_was_written_stays(
    path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    connect = sqlite3.connect

    def connect_to_full_disk(*args: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*args, **options)
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count={pages + 1}")  # SQLite itself then says "database or disk is full"
        return db

    monkeypatch.setattr(sqlite3, "connect", connect_to_full_disk)
    ledger = Ledger.open(path)
    ledger.add_calls([call("small")])
    with pytest.raises(StorageError) as caught:
        ledger.add_calls([call("big", reply=os.urandom(50_000).hex())])
    assert "disk is full" in caught.value.message and "MiB free" in caught.value.message
    assert caught.value.where == str(path)
    assert "run the same command again" in str(caught.value.remedy)
    assert ledger.call("small")[0] == call("small")
    ledger.close()
    monkeypatch.undo()
    again = Ledger.open(path)
    assert again.call("small")[0] == call("small") and again.call("big") == (None, None)
    again.close()
