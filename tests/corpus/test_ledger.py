import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import Ledger
from understudy.corpus.ledger import SCHEMA_VERSION, Usage
from understudy.errors import RunFolderError, StorageError

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


def test_what_is_written_is_there_when_the_ledger_is_opened_again(path: Path):
    ledger = Ledger.open(path)
    ledger.set_meta(plan="p2")
    ledger.close()
    again = Ledger.open(path)
    assert (again.meta("plan"), again.meta("schema")) == ("p2", str(SCHEMA_VERSION))
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


@pytest.mark.parametrize("step", ["schema_version", "_configure"])
def test_a_disk_that_fails_while_a_ledger_is_opened_is_no_damage(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
):
    class Failing(sqlite3.Connection):
        def execute(self, query: str, *values: Any) -> sqlite3.Cursor:
            if (step == "_configure") == query.startswith("PRAGMA"):
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(query, *values)

    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *args, **named: connect(*args, **named, factory=Failing))
        with pytest.raises(StorageError, match="disk I/O error"):
            Ledger.open(path)
    Ledger.open(path).close()


def test_a_ledger_of_another_version_is_refused(path: Path):
    ledger = Ledger.open(path)
    ledger.set_meta(schema="99")
    ledger.close()
    with pytest.raises(RunFolderError, match=f"ledger schema 99, this is {SCHEMA_VERSION}"):
        Ledger.open(path)


def test_a_call_comes_back_as_it_was_and_is_entered_once(path: Path, call: Callable[..., Any]):
    ledger = Ledger.open(path)
    made = call("k", reply=None, error="truncated", parent="before")
    ledger.add_calls([made])
    ledger.add_calls([call("k", reply="another")])
    assert ledger.call("k") == (made, None)
    assert ledger.call("unknown") == (None, None)
    assert ledger.call_usage() == [Usage("instruct/ask", "sm", 1, 0, 100, 0, 20, 0.25)]
    ledger.close()


def test_a_failed_commit_leaves_nothing_behind(path: Path, call: Callable[..., Any]):
    ledger = Ledger.open(path)
    ledger.add_calls([call("k")])
    with pytest.raises(sqlite3.IntegrityError):
        ledger.commit(0, [], [file := _file("data/a"), file], [call("k")])
    assert ledger.files() == []
    assert ledger.call("k")[0] is not None
    ledger.close()


def test_room_that_rolled_calls_leave_is_given_back(path: Path, call: Callable[..., Any]):
    ledger = Ledger.open(path)
    calls = [call(f"k{n}", reply=os.urandom(2000).hex()) for n in range(200)]
    ledger.add_calls(calls)
    full = path.stat().st_size + path.with_name("ledger.db-wal").stat().st_size
    ledger.commit(0, [], [], calls)
    ledger.close()
    assert path.stat().st_size < full / 8


def test_the_trace_of_a_run_of_days_is_thinned_but_for_its_events(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("understudy.corpus.ledger.FLOW_POINTS", 100)
    ledger = Ledger.open(path)
    for start in range(0, 1000, 10):
        ledger.add_flow(
            [(float(n), "sm", "e", 8, n, 0, "429" if n % 50 == 7 else None) for n in range(start, start + 10)]
        )
    found = ledger.flow()
    assert 50 <= sum(point[-1] is None for point in found) <= 100
    assert [point[0] for point in found if point[-1]] == [float(n) for n in range(7, 1000, 50)]
    assert found[0][0] == 0 and found[-1][0] >= 998
    ledger.close()


def _file(name: str) -> Any:
    from understudy.corpus.ledger import File

    return File(name, 0, "00ff", 1, 10)


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


def test_a_full_disk_under_the_lock_is_told_as_what_it_is(path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", full)  # between taking the lock and signing it
        with pytest.raises(StorageError, match="No space left"):
            Ledger.open(path)
    Ledger.open(path).close()
