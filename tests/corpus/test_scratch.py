import errno
import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from understudy.corpus.scratch import Database, Records
from understudy.errors import StorageError


def test_a_scratch_database_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    made = Database("CREATE TABLE t(n INTEGER PRIMARY KEY, body BLOB)")
    made.write("INSERT INTO t VALUES (?, ?)", [(n, os.urandom(1000)) for n in range(10_000)])
    assert next(made.read("SELECT COUNT(*), SUM(length(body)) FROM t")) == (10_000, 10_000_000)
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_database_may_be_used_from_another_thread():
    made = Database("CREATE TABLE t(n INTEGER)")
    with ThreadPoolExecutor(1) as thread:
        thread.submit(made.write, "INSERT INTO t VALUES (?)", [(1,), (2,)]).result()
    assert list(made.read("SELECT n FROM t WHERE n > ?", (1,))) == [(2,)]


def test_records_are_read_by_their_number():
    made = Records(3)
    for record in (b"abc", b"def", b"ghi"):
        made.extend(record)
    assert (len(made), made[0], made[2]) == (3, b"abc", b"ghi")


def test_records_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Records(3)
    made.extend(b"abc")
    assert list(tmp_path.iterdir()) == []
    descriptor = made._file
    del made
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(descriptor)


@pytest.mark.parametrize("written", [0, 2], ids=["refused", "cut short"])
def test_a_full_disk_is_told_with_the_folder(written: int, monkeypatch: pytest.MonkeyPatch):
    def pwrite(*_: object) -> int:
        if not written:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written

    made = Records(3)
    monkeypatch.setattr("os.pwrite", pwrite)
    with pytest.raises(StorageError, match="No space left"):
        made.extend(b"abc")
    assert len(made) == 0
