"""Calls as rows: what is written comes back, also out of files that earlier versions wrote."""

import json
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.corpus import Ledger
from understudy.corpus.rows import CALL, Segments, call_row, tables, write
from understudy.corpus.rows import call as call_of

Make = Callable[..., Any]
EARLIER = pa.schema([field for field in CALL if field.name != "at"])
FIRST = pa.schema([field for field in EARLIER if field.name != "reused"])


def segment(folder: Path, shard: int, schema: pa.Schema, *calls: Any) -> Any:
    rows = [call_row(one) for one in calls]
    return write(folder, f"traces/{shard:05d}.parquet", shard, pa.Table.from_pylist(rows, schema=schema))


def test_a_call_comes_back_from_its_row(call: Make):
    made = call("a", at=1_795_000_000.25, reused=True, error="truncated", parent="before")
    assert call_of(call_row(made)) == made
    assert call_of(call_row(replace(made, at=None))).at is None


@pytest.mark.parametrize("schema", [EARLIER, FIRST], ids=["without a time", "and without reuse"])
def test_a_segment_of_an_earlier_version_is_read(tmp_path: Path, call: Make, schema: pa.Schema):
    file = segment(tmp_path, 0, schema, call("a"), call("b"))
    assert Segments(tmp_path).find(file.name, "b") == call("b")


def test_segments_of_several_versions_are_merged(tmp_path: Path, call: Make):
    files = [
        segment(tmp_path, 0, FIRST, call("a")),
        segment(tmp_path, 1, EARLIER, call("b", reused=True)),
        segment(tmp_path, 2, CALL, call("c", at=5.5)),
    ]
    (table,) = tables(tmp_path, files, CALL, least=2**31)
    assert table.schema.equals(CALL)
    assert [call_of(row) for row in table.to_pylist()] == [
        call("a"), call("b", reused=True), call("c", at=5.5),
    ]  # fmt: skip
    assert "at" in pq.read_schema(tmp_path / files[2].name).names


def test_a_call_that_an_earlier_version_journaled_is_read(tmp_path: Path, call: Make):
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    ledger.add_calls([call("k", at=7.0)])
    assert ledger.call("k") == (call("k", at=7.0), None)
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        ((body,),) = db.execute("SELECT body FROM calls")
        fields = json.loads(zlib.decompress(body))
        del fields["at"]
        db.execute("UPDATE calls SET body = ?", (zlib.compress(json.dumps(fields).encode()),))
    db.close()
    assert ledger.call("k") == (call("k"), None)
    ledger.close()
