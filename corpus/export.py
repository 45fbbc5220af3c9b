"""A corpus as rows for trainers (conversations, preference pairs, every version that was kept) or for reviewers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from understudy.corpus.folder import RunFolder
from understudy.corpus.order import arranged, likeness
from understudy.corpus.reviews import Review, edited
from understudy.corpus.rows import example as example_of
from understudy.corpus.storage import storage_errors
from understudy.errors import UserError
from understudy.nouns import Example, Version

Form = Literal["chat", "reviewed", "preference", "versions", "argilla", "label-studio"]
FORMS: tuple[Form, ...] = get_args(Form)
# How a version can end without being worse than the one that was kept.
_NOT_WORSE = ("tied", "not understood", "no gain", "repetition", "no answer", "parse", "loop", "refused by the engine")
Row = dict[str, Any]
_FOR_REVIEWERS = ("argilla", "label-studio")


def export(folder: RunFolder, path: Path, form: Form = "chat", *, split: str = "train", seed: int = 0) -> int:
    """Write a split into a .jsonl or .parquet file, or for reviewers into a .json file; returns the number of rows.

    Rows stand in a seeded order in which no two neighbours are of the same document and the same agent who asked, as
    far as that can be. What people rejected, or are still to review, is left out, except for reviewers; `chat` and
    `reviewed` have their edits.

    Args:
        folder: the corpus.
        path: the file; its suffix says which kind.
        form: `chat`: `messages`, and `tools` where there are some. `reviewed`: the same for what people accepted or
            edited alone. `preference`: `prompt`, `chosen` and `rejected`,
            each a list of messages: what was kept against each answer to the same instruction that it replaced or
            beat. `versions`: like `chat`, for every version that was kept on the way, with its `round`. `argilla`,
            `label-studio`: what these tools import to have examples reviewed; what was said already comes along.
        split: `train` or `test`.
        seed: of the order.

    Raises:
        UserError: when the suffix is another, or there is no such row.
        StorageError: when the disk is full.
    """
    suffixes = (".json",) if form in _FOR_REVIEWERS else (".jsonl", ".parquet")
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
        for row in _FORMS[form](folder, example, word.standing.get(example.id)):
            rows.append(row if form == "label-studio" else row | {"id": example.id})
            keys.append(likeness(kept))
    if not rows:
        raise UserError(
            f"the corpus has no {form} rows in its {split} split",
            where=str(folder.path),
            remedy=_REMEDIES.get(form, "generate more examples"),
        )
    ordered = [rows[place] for place in arranged(keys, seed)]
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(ordered), temporary)
        elif path.suffix == ".json":
            temporary.write_text(json.dumps(ordered, ensure_ascii=False, indent=1), encoding="utf-8")
        else:
            with open(temporary, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in ordered)
        temporary.replace(path)
    return len(ordered)


def _chat(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    row: Row = {"messages": edited(example.payload["messages"], review)}
    if tools := example.payload.get("tools"):
        row["tools"] = json.dumps(tools, ensure_ascii=False)
    yield row


def _reviewed(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    if review is not None:
        for row in _chat(folder, example, review):
            yield row | {"reviewer": review.reviewer}


def _argilla(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """A record of Argilla 2: fields `prompt` (chat) and `answer`, questions `review` and `edited`."""
    *prompt, answer = example.payload["messages"]
    suggestions = {"review": {"value": "accept", "agent": "understudy"}}
    if review is not None:
        said = "reject" if review.label == "reject" else "accept"
        suggestions["review"] = {"value": said, "agent": review.reviewer}
        if review.answer is not None:
            suggestions["edited"] = {"value": review.answer, "agent": review.reviewer}
    yield {
        "id": example.id,
        "fields": {"prompt": [_turn(one) for one in prompt], "answer": answer["content"]},
        "metadata": _known(folder, example),
        "suggestions": suggestions,
        "responses": {},
        "vectors": {},
    }


def _label_studio(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """A task of Label Studio, for the labelling interface in docs/how-to/review-examples.md."""
    *prompt, answer = example.payload["messages"]
    result: list[Row] = []
    if review is not None:
        said = "reject" if review.label == "reject" else "accept"
        result = [_control("review", "choices", {"choices": [said]})]
        if review.answer is not None:
            result.append(_control("edited", "textarea", {"text": [review.answer]}))
    asked = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
    yield {
        "data": {"prompt": asked, "answer": answer["content"], "example": example.id, **_known(folder, example)},
        "predictions": [{"model_version": review.reviewer, "result": result}] if review else [],
    }


def _control(name: str, kind: str, value: Row) -> Row:
    return {"from_name": name, "to_name": "answer", "type": kind, "value": value}


def _turn(message: dict[str, Any]) -> dict[str, str]:
    return {"role": str(message["role"]), "content": str(message["content"])}


def _known(folder: RunFolder, example: Example) -> Row:
    """What a reviewer may want to choose by."""
    planned = next((step for step in example.path if step.startswith("plan/")), "plan//").split("/")
    known = {"source": folder.seed_of(example).source, "skill": planned[1], "leaf": planned[2]}
    return {name: value for name, value in known.items() if value}


def _preference(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
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


def _versions(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    kept = _last_kept(example)
    if kept is None:
        yield from ({**row, "round": 0} for row in _chat(folder, example, review))
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


_FORMS: dict[Form, Callable[[RunFolder, Example, Review | None], Iterator[Row]]] = {
    "chat": _chat,
    "reviewed": _reviewed,
    "preference": _preference,
    "versions": _versions,
    "argilla": _argilla,
    "label-studio": _label_studio,
}
_REMEDIES: dict[Form, str] = {
    "preference": "a corpus has preference pairs if its recipe asks for `candidates` or for rounds of refinement",
    "reviewed": "accept or edit examples in `understudy traces`",
}
