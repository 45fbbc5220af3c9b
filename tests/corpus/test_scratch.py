import errno
import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from understudy.corpus.scratch import Database, Pages, Records
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
    descriptor = made._file.descriptor
    del made
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_pages_come_back_in_order():
    made = Pages((2, 3), np.int16)
    assert list(made) == []
    for number in range(5):
        made.append(np.full((2, 3), number))
        assert [page.tolist() for page in made] == [[[one] * 3] * 2 for one in range(number + 1)]


def test_pages_that_were_looked_through_take_no_memory():
    made = Pages((1 << 20,), np.uint8)
    for number in range(64):
        made.append(np.full(1 << 20, number))
    before = resident()
    seen = []
    for page in made:
        seen.append(int(page.max()))
        assert resident() - before < 8 << 20
    assert seen == list(range(64))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
