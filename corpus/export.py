"""A corpus as a file for trainers (conversations, preference pairs, every version that was kept) or for reviewers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.corpus import reviewer_rows, trainer_rows
from understudy.corpus.base_rate import weights
from understudy.corpus.companions import configure, register
from understudy.corpus.folder import RunFolder
from understudy.corpus.order import arranged, likeness
from understudy.corpus.reviews import Review
from understudy.corpus.rows import example as example_of
from understudy.corpus.storage import storage_errors
from understudy.errors import UserError
from understudy.nouns import Example

Form = Literal[
    "chat", "reviewed", "preference", "versions", "prompt-completion", "stepwise", "sharegpt", "openai",
    "llama-factory", "llama-factory-preference", "axolotl", "rows", "argilla", "label-studio",
]  # fmt: skip
FORMS: tuple[Form, ...] = get_args(Form)
_FOR_REVIEWERS = ("argilla", "label-studio")
Row = dict[str, Any]


def export(folder: RunFolder, path: Path, form: Form = "chat", *, split: str = "train", seed: int = 0) -> int:
    """Write a split into a file for a trainer or for reviewers; returns the number of rows.

    Rows stand in a seeded order in which no two neighbours are of the same document and the same agent who asked, as
    far as that can be. What people rejected, or are still to review, is left out, except for reviewers; all other
    forms but `preference`, `versions` and `stepwise` have their edits.

    Args:
        folder: the corpus.
        path: the file; its suffix says which kind.
        form: `chat`: `messages`, and `tools` where there are some. `reviewed`: the same for what people accepted or
            edited alone. `preference`: `prompt`, `chosen` and `rejected`,
            each a list of messages: what was kept against each answer to the same instruction that it replaced or
            beat. `versions`: like `chat`, for every version that was kept on the way, with its `round`.
            `prompt-completion`: all turns but the last, and the last. `stepwise`: `prompt`, `completions` and
            `labels`, of examples that are solutions in steps. `sharegpt`: `conversations` of `from` and `value`.
            `openai`: what its fine-tuning takes. `llama-factory`, `llama-factory-preference`: ShareGPT, entered into
            the `dataset_info.json` beside it. `axolotl`: like `chat`, with an `axolotl.yaml` beside it unless one is
            there. `rows`: the cells of a table by column, with the `_weight` that gives its targets their true shares.
            `argilla`, `label-studio`: what these tools import to have examples reviewed; what was said already
            comes along.
        split: `train` or `test`.
        seed: of the order.

    Raises:
        UserError: when the suffix is another, there is no such row, or one that the form cannot hold.
        StorageError: when the disk is full.
    """
    suffixes = _SUFFIXES.get(form, (".jsonl", ".parquet"))
    if path.suffix not in suffixes:
        raise UserError(f"cannot write a `{path.suffix}` file", where=str(path), expected=" or ".join(suffixes))
    if not path.absolute().parent.is_dir():
        raise UserError("no such folder", where=str(path.parent))
    rows, keys = [], []
    word = folder.word()
    for kept in folder.rows("accepted", split):
        example = example_of(kept)
        if form not in _FOR_REVIEWERS and not word.keeps(example.id):
            continue
        if form != "stepwise" and "messages" not in example.payload:
            continue
        for row in _FORMS[form](folder, example, word.standing.get(example.id)):
            named = {"_example": example.id} if form == "rows" else {"id": example.id}
            rows.append(row if form in {"label-studio", "openai"} else row | named)
            keys.append(likeness(kept))
    if not rows:
        raise UserError(
            f"the corpus has no {form} rows in its {split} split",
            where=str(folder.path),
            remedy=_REMEDIES.get(form, "generate more examples"),
        )
    if form == "rows":
        rows = _weighed(folder, rows)
    ordered = [rows[place] for place in arranged(keys, seed)]
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        if path.suffix == ".parquet":
            pq.write_table(_table(ordered), temporary)
        elif path.suffix == ".csv":
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(column for row in ordered for column in row)))
                writer.writeheader()
                writer.writerows(ordered)
        elif path.suffix == ".json":
            temporary.write_text(json.dumps(ordered, ensure_ascii=False, indent=1), encoding="utf-8")
        else:
            with open(temporary, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in ordered)
        if form.startswith("llama-factory"):
            register(path, sorted({column for row in ordered for column in row}))
        elif form == "axolotl":
            configure(path, folder.recipe)
        temporary.replace(path)
    return len(ordered)


def _weighed(folder: RunFolder, rows: list[Row]) -> list[Row]:
    """Rows with the weights that give their targets the shares of the report's `base_rate`."""
    try:
        report = json.loads((folder.path / "report.json").read_text(encoding="utf-8"))
        base_rate = report["figures"]["table"]["base_rate"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "has no report of its rows yet", where=str(folder.path), remedy="finish the run: `understudy run`"
        ) from error  # fmt: skip
    found = weights(rows, base_rate)
    return [row | {"_weight": float(f"{weight:.6g}")} for row, weight in zip(rows, found, strict=True)]


def _table(rows: list[Row]) -> pa.Table:
    """Rows under a schema that is known beforehand.

    Where a turn calls a tool, turns are JSON in Arrow: as structs, all others would have that key too, and be null.
    """
    talks = [name for name in _TURNS if isinstance(rows[0].get(name), list)]
    as_json = any(turn.keys() - {"role", "content"} for row in rows for name in talks for turn in row[name])
    columns = {}
    for name in dict.fromkeys(column for row in rows for column in row):
        values = [row.get(name) for row in rows]
        if "_weight" in rows[0]:
            columns[name] = pa.array(values)
        elif name not in talks:
            columns[name] = pa.array(values, _COLUMNS.get(name, pa.string()))
        elif as_json:
            texts = [[json.dumps(turn, ensure_ascii=False) for turn in row[name]] for row in rows]
            columns[name] = pa.array(texts, pa.list_(pa.string())).cast(pa.list_(pa.json_()))
        else:
            columns[name] = pa.array(values, pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])))
    return pa.table(columns)


_TURNS = ("messages", "prompt", "completion", "chosen", "rejected")
_COLUMNS: dict[str, pa.DataType] = {
    "conversations": pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())])),
    "completions": pa.list_(pa.string()),
    "labels": pa.list_(pa.bool_()),
    "round": pa.int64(),
}
_FORMS: dict[Form, Callable[[RunFolder, Example, Review | None], Iterator[Row]]] = {
    "chat": trainer_rows.chat,
    "reviewed": trainer_rows.reviewed,
    "preference": trainer_rows.preference,
    "versions": trainer_rows.versions,
    "prompt-completion": trainer_rows.prompt_completion,
    "stepwise": trainer_rows.stepwise,
    "sharegpt": trainer_rows.sharegpt,
    "openai": trainer_rows.openai,
    "llama-factory": trainer_rows.llama_factory,
    "llama-factory-preference": trainer_rows.llama_factory_preference,
    "axolotl": trainer_rows.chat,
    "rows": trainer_rows.rows,
    "argilla": reviewer_rows.argilla,
    "label-studio": reviewer_rows.label_studio,
}
_SUFFIXES: dict[Form, tuple[str, ...]] = {
    "sharegpt": (".jsonl", ".json", ".parquet"),
    "openai": (".jsonl",),
    "llama-factory": (".jsonl", ".json"),
    "llama-factory-preference": (".jsonl", ".json"),
    "axolotl": (".jsonl",),
    "rows": (".csv", ".jsonl", ".parquet"),
    "argilla": (".json",),
    "label-studio": (".json",),
}
_PAIRS = "a corpus has preference pairs if its recipe asks for `candidates` or for rounds of refinement"
_REMEDIES: dict[Form, str] = {
    "preference": _PAIRS,
    "llama-factory-preference": _PAIRS,
    "reviewed": "accept or edit examples in `understudy traces`",
    "rows": "a corpus has rows if its recipe has a section `rows`",
    "stepwise": "a corpus has stepwise rows if its examples are of the kind `steps`: solutions judged step by step",
}
