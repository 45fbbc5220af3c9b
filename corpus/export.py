"""A corpus as rows for trainers: conversations, preference pairs, or every version that was kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.corpus.folder import RunFolder
from understudy.corpus.order import arranged, likeness
from understudy.corpus.rows import example as example_of
from understudy.corpus.storage import storage_errors
from understudy.errors import UserError
from understudy.nouns import Example, Version

Form = Literal["chat", "preference", "versions"]
FORMS: tuple[Form, ...] = get_args(Form)
# How a version can end without being worse than the one that was kept.
_NOT_WORSE = ("tied", "not understood", "no gain", "repetition", "no answer", "parse", "loop", "refused by the engine")
Row = dict[str, Any]


def export(folder: RunFolder, path: Path, form: Form = "chat", *, split: str = "train", seed: int = 0) -> int:
    """Write a split into a .jsonl or .parquet file; returns the number of rows.

    Rows stand in a seeded order in which no two neighbours are of the same document and the same agent who asked, as
    far as that can be.

    Args:
        folder: the corpus.
        path: the file; its suffix says which kind.
        form: `chat`: `messages`, and `tools` where there are some. `preference`: `prompt`, `chosen` and `rejected`,
            each a list of messages: what was kept against each answer to the same instruction that it replaced or
            beat. `versions`: like `chat`, for every version that was kept on the way, with its `round`.
        split: `train` or `test`.
        seed: of the order.

    Raises:
        UserError: when the suffix is another, or there is no such row.
        StorageError: when the disk is full.
    """
    if path.suffix not in {".jsonl", ".parquet"}:
        raise UserError(f"cannot write a `{path.suffix}` file", where=str(path), expected=".jsonl or .parquet")
    if not path.absolute().parent.is_dir():
        raise UserError("no such folder", where=str(path.parent))
    rows, keys = [], []
    for kept in folder.rows("accepted", split):
        example = example_of(kept)
        for row in _FORMS[form](folder, example):
            rows.append(row | {"id": example.id})
            keys.append(likeness(kept))
    if not rows:
        raise UserError(
            f"the corpus has no {form} rows in its {split} split",
            where=str(folder.path),
            remedy="a corpus has preference pairs if its recipe asks for `candidates` or for rounds of refinement"
            if form == "preference"
            else "generate more examples",
        )
    ordered = [rows[place] for place in arranged(keys, seed)]
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(ordered), temporary)
        else:
            with open(temporary, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in ordered)
        temporary.replace(path)
    return len(ordered)


def _chat(folder: RunFolder, example: Example) -> Iterator[Row]:
    row: Row = {"messages": example.payload["messages"]}
    if tools := example.payload.get("tools"):
        row["tools"] = json.dumps(tools, ensure_ascii=False)
    yield row


def _preference(folder: RunFolder, example: Example) -> Iterator[Row]:
    *prompt, chosen = example.payload["messages"]
    kept = _last_kept(example)
    said = {chosen["content"], ""}
    for version in example.versions:
        same = kept and (version.instruction, version.passage) == (kept.instruction, kept.passage)
        if not same or version.answer in said or version.outcome.startswith(_NOT_WORSE):
            continue
        said.add(version.answer)
        rejected = {"role": "assistant", "content": version.answer}
        yield {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}


def _versions(folder: RunFolder, example: Example) -> Iterator[Row]:
    kept = _last_kept(example)
    if kept is None:
        yield from ({**row, "round": 0} for row in _chat(folder, example))
        return
    asked = str(example.payload["messages"][0]["content"])
    attached = asked != kept.instruction
    for version in example.versions:
        if version.outcome.startswith("kept"):
            shown = asked.removesuffix(kept.instruction).rstrip("\n")
            if version.passage != kept.passage:
                shown = version.passage or folder.seed_of(example).content
            content = f"{shown}\n\n{version.instruction}" if attached else version.instruction
            turns = [{"role": "user", "content": content}, {"role": "assistant", "content": version.answer}]
            yield {"messages": turns, "round": version.round}


def _last_kept(example: Example) -> Version | None:
    """The version that the example holds; none of a talk, of which versions are only of its beginning."""
    answer = example.payload["messages"][-1]["content"]
    held = (one for one in reversed(example.versions) if one.outcome.startswith("kept") and one.answer == answer)
    return next(held, None)


_FORMS: dict[Form, Callable[[RunFolder, Example], Iterator[Row]]] = {
    "chat": _chat,
    "preference": _preference,
    "versions": _versions,
}
