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
from understudy.nouns import Call, Example, Persona, Seed, Verdict

_TEXTS = pa.list_(pa.string())
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
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
    ]
)
CALL = pa.schema(
    [
        ("key", pa.string()),
        ("agent", pa.string()),
        ("sm", pa.string()),
        ("model", pa.string()),
        ("messages", _MESSAGES),
        ("sampling", pa.string()),
        ("reply", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
        ("parent", pa.string()),
    ]
)


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


def write_groups(folder: Path, name: str, schema: pa.Schema, groups: Iterable[pa.Table]) -> File:
    """The same for a file that need not fit in memory: each table becomes a row group. It belongs to no shard.

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
    return File(name, NO_SHARD, digest, count, size)


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
    }


def example(row: dict[str, Any]) -> Example:
    """The example of a row."""
    persona = row["persona"]
    return Example(
        id=row["id"],
        kind=row["kind"],
        payload={"messages": row["messages"]} if row["messages"] else {},
        seed=row["seed_id"],
        draw=row["draw"],
        persona=Persona(**persona) if persona else None,
        parents=tuple(row["parents"]),
        path=tuple(row["path"]),
        calls=tuple(row["calls"]),
        scores={score["name"]: score["value"] for score in row["scores"]},
        verdicts=tuple(Verdict(**verdict) for verdict in row["verdicts"]),
        status=row["status"],
        reason=row["reason"],
    )


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
    )


def read_call(folder: Path, shard: int, key: str) -> Call | None:
    """A call from the trace segment of a shard."""
    table = pq.read_table(folder / segment(shard), filters=[("key", "==", key)])
    return next((call(row) for row in table.to_pylist()), None)


def calls(folder: Path, file: File) -> Iterator[Call]:
    """All calls of a trace segment."""
    return (call(row) for row in read(folder, [file]))


def segment(shard: int) -> str:
    """The name of a shard's trace segment."""
    return f"traces/{shard:05d}.parquet"


def read(folder: Path, files: Sequence[File], columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of committed files, a batch at a time."""
    for file in files:
        with pq.ParquetFile(folder / file.name) as parquet:
            for batch in parquet.iter_batches(columns=columns):
                yield from batch.to_pylist()
