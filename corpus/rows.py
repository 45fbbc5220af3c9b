"""Examples and calls as Parquet rows: explicit Arrow schemas, durable files.

A file is written under a temporary name, fsynced, renamed, and its folder fsynced, so a name that exists
holds all of its rows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.corpus.ledger import NO_SHARD, File
from understudy.corpus.storage import storage_errors
from understudy.errors import RunFolderError
from understudy.nouns import ATTRIBUTES, Call, Example, Persona, Seed, Verdict, Version

_TEXTS = pa.list_(pa.string())
_PROMPT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_CALLED = pa.struct([("name", pa.string()), ("arguments", pa.string())])
_MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("tool_calls", pa.list_(pa.struct([("id", pa.string()), ("type", pa.string()), ("function", _CALLED)]))),
            ("tool_call_id", pa.string()),
            ("name", pa.string()),
        ]
    )
)
EXAMPLE = pa.schema(
    [
        ("messages", _MESSAGES),
        ("id", pa.string()),
        ("kind", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("seed_id", pa.string()),
        ("seed_kind", pa.string()),
        ("source", pa.string()),
        ("license", pa.string()),
        ("draw", pa.int32()),
        (
            "persona",
            pa.struct(
                [
                    ("id", pa.string()),
                    ("text", pa.string()),
                    ("origin", pa.string()),
                    ("parent", pa.string()),
                    ("relation", pa.string()),
                    ("hop", pa.int32()),
                    ("source", pa.string()),
                    ("attributes", pa.struct([(name, pa.string()) for name in ATTRIBUTES])),
                ]
            ),
        ),
        ("parents", _TEXTS),
        ("path", _TEXTS),
        ("calls", _TEXTS),
        ("scores", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
        (
            "verdicts",
            pa.list_(
                pa.struct(
                    [("by", pa.string()), ("passed", pa.bool_()), ("score", pa.float64()), ("evidence", pa.string())]
                )
            ),
        ),
        ("sm_tokens", pa.int64()),
        ("answerable", pa.bool_()),
        ("tools", pa.string()),
        ("row", pa.string()),
        (
            "versions",
            pa.list_(
                pa.struct(
                    [
                        ("by", pa.string()),
                        ("round", pa.int32()),
                        ("instruction", pa.string()),
                        ("answer", pa.string()),
                        ("outcome", pa.string()),
                        ("passage", pa.string()),
                        ("answerable", pa.bool_()),
                        ("score", pa.float64()),
                    ]
                )
            ),
        ),
    ]
)
CALL = pa.schema(
    [
        ("key", pa.string()),
        ("agent", pa.string()),
        ("sm", pa.string()),
        ("model", pa.string()),
        ("messages", _PROMPT),
        ("sampling", pa.string()),
        ("reply", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
        ("parent", pa.string()),
        ("reused", pa.bool_()),
        ("at", pa.float64()),
    ]
)
_KEPT_GROUPS = 8
# So many rows are turned into Python objects at once.
_BATCH = 1024


def write(folder: Path, name: str, shard: int, table: pa.Table) -> File:
    """Write one Parquet file so that it exists whole or not at all.

    Raises:
        StorageError: when the disk is full or fails.
    """
    path = folder / name
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        write_durably(temporary, path, content)
    return File(name, shard, hashlib.sha256(content).hexdigest(), table.num_rows, len(content))


def write_groups(folder: Path, name: str, schema: pa.Schema, groups: Iterable[pa.Table], shard: int = NO_SHARD) -> File:
    """The same for a file that need not fit in memory: each table becomes a row group.

    Raises:
        StorageError: when the disk is full or fails.
    """
    path = folder / name
    temporary = path.with_name(f".{path.name}.tmp")
    count = 0
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w+b") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for table in groups:
                    writer.write_table(table)
                    count += table.num_rows
            _settle(file)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        _rename(temporary, path)
    return File(name, shard, digest, count, size)


def write_durably(temporary: Path, path: Path, content: bytes) -> None:
    """Temporary name, fsync, rename, fsync of the folder."""
    with open(temporary, "wb") as file:
        file.write(content)
        _settle(file)
    _rename(temporary, path)


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _rename(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damage(path: Path, file: File) -> str | None:
    """What is wrong with a committed file, every byte of which is read; None if nothing is."""
    try:
        if (size := path.stat().st_size) != file.bytes:
            return f"has {size:,} bytes, expected {file.bytes:,}"
        with open(path, "rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if found == file.sha256 else f"has sha256 {found[:12]}…, expected {file.sha256[:12]}…"


def example_row(example: Example, seed: Seed, tokens: int) -> dict[str, Any]:
    """The row of an example in `data/`, `rejected/`, `duplicates/` or `failed/`."""
    persona = example.persona
    return {
        "messages": example.payload.get("messages"),
        "id": example.id,
        "kind": example.kind,
        "status": example.status,
        "reason": example.reason,
        "seed_id": example.seed,
        "seed_kind": seed.kind,
        "source": seed.source,
        "license": seed.meta.get("license"),
        "draw": example.draw,
        "persona": asdict(persona) if persona else None,
        "parents": list(example.parents),
        "path": list(example.path),
        "calls": list(example.calls),
        "scores": [{"name": name, "value": value} for name, value in sorted(example.scores.items())],
        "verdicts": [
            {"by": said.by, "passed": said.passed, "score": said.score, "evidence": said.evidence}
            for said in example.verdicts
        ],
        "sm_tokens": tokens,
        "answerable": example.payload.get("answerable", True) if example.kind == "chat" else None,
        "tools": json.dumps(tools, ensure_ascii=False) if (tools := example.payload.get("tools")) else None,
        "row": json.dumps(row, ensure_ascii=False) if (row := example.payload.get("row")) else None,
        "versions": [asdict(version) for version in example.versions],
    }


def messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a row, each with the keys that it has."""
    return [{key: value for key, value in turn.items() if value is not None} for turn in row["messages"] or ()]


def example(row: dict[str, Any]) -> Example:
    """The example of a row."""
    persona = row["persona"]
    payload: dict[str, Any] = {"messages": messages(row)} if row["messages"] else {}
    if tools := row.get("tools"):
        payload["tools"] = json.loads(tools)
    if record := row.get("row"):
        payload["row"] = json.loads(record)
    if row.get("answerable") is False:
        payload["answerable"] = False
    return Example(
        id=row["id"],
        kind=row["kind"],
        payload=payload,
        seed=row["seed_id"],
        draw=row["draw"],
        persona=_persona(persona) if persona else None,
        parents=tuple(row["parents"]),
        path=tuple(row["path"]),
        calls=tuple(row["calls"]),
        scores={score["name"]: score["value"] for score in row["scores"]},
        verdicts=tuple(Verdict(**verdict) for verdict in row["verdicts"]),
        status=row["status"],
        reason=row["reason"],
        versions=tuple(Version(**version) for version in row.get("versions") or ()),  # earlier versions have none
    )


def _persona(row: dict[str, Any]) -> Persona:
    known = row.get("attributes") or {}  # rows of earlier versions have none
    return Persona(**row | {"attributes": {name: value for name, value in known.items() if value is not None}})


def call_row(call: Call) -> dict[str, Any]:
    """The row of a call in a trace segment."""
    return {
        "key": call.key,
        "agent": call.agent,
        "sm": call.sm,
        "model": call.model,
        "messages": list(call.messages),
        "sampling": json.dumps(call.sampling, sort_keys=True),
        "reply": call.reply,
        "prompt_tokens": call.usage.get("prompt", 0),
        "cached_tokens": call.usage.get("cached", 0),
        "completion_tokens": call.usage.get("completion", 0),
        "seconds": call.seconds,
        "error": call.error,
        "parent": call.parent,
        "reused": call.reused,
        "at": call.at,
    }


def call(row: dict[str, Any]) -> Call:
    """The call of a row."""
    return Call(
        key=row["key"],
        agent=row["agent"],
        model=row["model"],
        messages=tuple(row["messages"]),
        sampling=json.loads(row["sampling"]),
        reply=row["reply"],
        usage={
            "prompt": row["prompt_tokens"],
            "cached": row["cached_tokens"],
            "completion": row["completion_tokens"],
        },
        seconds=row["seconds"],
        error=row["error"],
        parent=row["parent"],
        sm=row["sm"],
        reused=bool(row.get("reused")),  # segments of earlier versions do not say
        at=row.get("at"),  # nor this
    )


class Segments:
    """Calls by their keys in the trace segments of a run folder.

    The row groups read last are kept: calls of drafts that follow one another lie together.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[tuple[str, int], tuple[dict[str, int], pa.Table]] = {}

    def find(self, name: str, key: str) -> Call | None:
        """The call under `key` in a trace segment, or None."""
        for (kept, _), (places, table) in self._kept.items():
            if kept == name and key in places:
                return self._call(table, places[key])
        with pq.ParquetFile(self._folder / name) as segment:
            for group in range(segment.num_row_groups):
                keys = segment.read_row_group(group, columns=["key"])["key"].to_pylist()
                if key in keys:
                    found = {key: place for place, key in enumerate(keys)}, segment.read_row_group(group)
                    self._kept[name, group] = found
                    if len(self._kept) > _KEPT_GROUPS:
                        del self._kept[next(iter(self._kept))]
                    return self._call(found[1], found[0][key])
        return None

    def _call(self, table: pa.Table, place: int) -> Call:
        (row,) = table.slice(place, 1).to_pylist()
        return call(row)


def calls(folder: Path, file: File) -> Iterator[Call]:
    """All calls of a trace segment."""
    return (call(row) for row in read(folder, [file]))


def segment(shard: int) -> str:
    """The name of a shard's trace segment."""
    return f"traces/{shard:05d}.parquet"


def read(folder: Path, files: Sequence[File], columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of committed files, a batch at a time."""
    for file in files:
        with _opened(folder / file.name) as parquet:
            for batch in parquet.iter_batches(_BATCH, columns=columns):
                yield from batch.to_pylist()


def one(folder: Path, files: Sequence[File], id: str) -> dict[str, Any]:
    """The row of an id, of whose files only the ids and its row group are read.

    Raises:
        RunFolderError: when no file has it.
    """
    for file in files:
        with _opened(folder / file.name) as parquet:
            for group in range(parquet.num_row_groups):
                ids = parquet.read_row_group(group, columns=["id"])["id"].to_pylist()
                if id in ids:
                    found: dict[str, Any] = parquet.read_row_group(group).slice(ids.index(id), 1).to_pylist()[0]
                    return found
    names = ", ".join(file.name for file in files) or "no file"
    raise RunFolderError(f"no row with the id {id} in {names}", where=str(folder), remedy="understudy journal check")


def tables(folder: Path, files: Iterable[File], schema: pa.Schema, least: int) -> Iterator[pa.Table]:
    """The same as tables of `least` rows or a little more, the last one of fewer; what a file lacks is null."""
    waiting: list[pa.Table] = []
    for file in files:
        with _opened(folder / file.name) as parquet:
            for group in range(parquet.num_row_groups):
                waiting.append(parquet.read_row_group(group, columns=schema.names, use_threads=False))
                if sum(len(table) for table in waiting) >= least:
                    yield _joined(waiting, schema)
                    waiting = []
    if waiting:
        yield _joined(waiting, schema)


def _joined(parts: list[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables(_as_now(part, schema) for part in parts)


def _as_now(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table of an earlier version under the present schema: what is kept in another way now is null."""
    if table.schema.equals(schema):
        return table
    known = {field.name: field.type for field in table.schema}

    def column(field: pa.Field) -> pa.ChunkedArray | pa.Array:
        was = known.get(field.name)
        if was == field.type:
            return table[field.name]
        if was is not None and pa.types.is_struct(was) and pa.types.is_struct(field.type):
            return table[field.name].cast(field.type)
        return pa.nulls(len(table), field.type)

    return pa.table([column(field) for field in schema], schema)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise RunFolderError(
            "is gone",
            where=str(path),
            remedy="a run that is under way may just have merged it: try again, or see `understudy journal check`",
        ) from error
