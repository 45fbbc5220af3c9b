"""Files that ask for too much, or crash their reader."""

import datetime
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.corpus import contained
from understudy.errors import SeedError

Fault = Callable[..., object]


def bomb(path: Path) -> Path:
    """A few kilobytes that become 60 GiB: one long text, named by a thousand rows."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["a" * (64 << 20)]))
    pq.write_table(pa.table({"text": words}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    return path


@pytest.fixture(autouse=True)
def fresh():
    contained._Reader.end_idle()
    yield
    contained._Reader.end_idle()


def test_a_parquet_bomb_is_named_and_the_parent_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
):
    monkeypatch.setattr(contained, "MEMORY", 1 << 30)
    path = bomb(tmp_path / "bomb.parquet")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SeedError, match="unreadable after row 0") as caught:
        list(contained.read(path))
    assert caught.value.where == str(path)
    assert "within 1 GiB of memory" in str(caught.value.expected)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    fault("a Parquet file of kilobytes that unpacks to 60 GiB", message=f"{path.name}: {caught.value.message}")


def test_a_reader_that_dies_is_named_and_the_next_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
):
    pq.write_table(pa.table({"n": list(range(50_000))}), path := tmp_path / "a.parquet")
    rows = contained.read(path)
    assert next(rows) == {"n": 0}
    (child,) = _children()
    os.kill(child, signal.SIGSEGV)
    with pytest.raises(SeedError, match=r"unreadable after row \d+: its reader ended with signal 11") as caught:
        list(rows)
    assert len(list(contained.read(path))) == 50_000
    fault("a seed file that crashes its reader", message=f"{path.name}: {caught.value.message}")


def _children() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words, line = (entry / "stat").read_text().rsplit(")", 1)[1].split(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(words[1]) == os.getpid() and b"contained" in line:
                found.append(int(entry.name))
    return found


def test_files_are_read_by_one_child_after_the_other_and_none_is_left(tmp_path: Path):
    for name in ("a", "b"):
        pq.write_table(pa.table({"name": [name]}), tmp_path / f"{name}.parquet")
    assert [row for name in ("a", "b") for row in contained.read(tmp_path / f"{name}.parquet")] == [
        {"name": "a"},
        {"name": "b"},
    ]
    (child,) = _children()
    contained._Reader.end_idle()
    assert _children() == []
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_whoever_stops_reading_leaves_no_child(tmp_path: Path):
    pq.write_table(pa.table({"n": list(range(50_000))}), path := tmp_path / "a.parquet")
    rows = contained.read(path)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert _children() == []


def test_values_without_a_form_in_json_come_as_texts(tmp_path: Path):
    day = datetime.date(2026, 1, 2)
    pq.write_table(pa.table({"day": [day], "share": [0.1], "raw": [b"x"]}), path := tmp_path / "a.parquet")
    assert list(contained.read(path)) == [{"day": "2026-01-02", "share": 0.1, "raw": "b'x'"}]
