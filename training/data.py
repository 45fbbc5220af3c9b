"""What a VM learns from: rows of a corpus and of files, in the form that its objective wants, some left out.

Each objective has its form: conversations (`sft`); `prompt`, `chosen`, `rejected` (`dpo`, `simpo`); `prompt`,
`completion`, `label` (`outcome`); `prompt`, `completions`, `labels` (`process`); `text`, `probabilities` (`soft`);
`anchor`, `positive` and perhaps `negative` (`retriever`); `query`, `passage`, `label` (`reranker`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from understudy.corpus import RunFolder, rows, trainer_rows
from understudy.corpus.conversations import read_conversations, values
from understudy.corpus.order import arranged, likeness
from understudy.errors import UserError
from understudy.lessons import CORPUS, Objective, Training
from understudy.nouns import address

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to learn."""

    id: str
    """Of a corpus' row, the example's; of a file's, a hash of what it holds."""
    body: Body
    source: str
    """The document or file that it is from."""
    key: Hashable
    """What neighbours should not have in common."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What there is to learn from."""

    rows: tuple[Row, ...]
    files: dict[str, str]
    """Digest of each file that was read."""
    left_out: dict[str, int]
    """How many rows were not taken, by reason."""


def gather(folder: RunFolder | None, plan: Training, home: Path) -> Gathered:
    """Read what a `training:` block names, then apply its cap, its share and its replay.

    Args:
        folder: the corpus, where there is one.
        plan: the block.
        home: the recipe's folder, to which paths are relative.

    Raises:
        UserError: when a file is missing, holds nothing usable, or a corpus is wanted and there is none.
    """
    out: list[Row] = []
    files: dict[str, str] = {}
    left_out: dict[str, int] = {}
    for name in plan.data:
        if name == CORPUS:
            if folder is None:
                raise UserError(
                    "`training.data` names the corpus, and there is none",
                    remedy="give a corpus folder, or name only files under `data`",
                )
            out += _of_corpus(folder, plan)
        else:
            out += _of_file(home / Path(name).expanduser(), plan.objective, files, left_out)
    before = len(out)
    out = _capped(out, plan)
    if before > len(out):
        left_out["beyond `source_cap`"] = before - len(out)
    if plan.share < 1 and out:
        out = sorted(out, key=lambda row: _rank(row, plan))[: max(1, math.ceil(plan.share * len(out)))]
        left_out["not in `share`"] = before - left_out.get("beyond `source_cap`", 0) - len(out)
    if plan.replay:
        general = _of_file(home / Path(plan.replay.path).expanduser(), plan.objective, files, left_out)
        wanted = round(len(out) * plan.replay.share / (1 - plan.replay.share))
        out += sorted(general, key=lambda row: _rank(row, plan))[:wanted]
    if not out:
        raise UserError(
            "nothing to learn from" + (f" ({_told(left_out)})" if left_out else ""),
            where=str(folder.path) if folder else str(home),
            expected=f"at least one row for `objective: {plan.objective}`",
            remedy=_REMEDIES.get(plan.objective, "generate more examples, or name a file under `training.data`"),
        )
    return Gathered(tuple(out), files, left_out)


def order(kept: list[Row], lengths: list[int], plan: Training) -> list[int]:
    """Which row each place of the training has: `steps` times `batch_size` places, an order of its own each time round.

    Args:
        kept: the rows.
        lengths: tokens of each.
        plan: says how many places, and in which order.
    """
    places: list[int] = []
    round_ = 0
    while len(places) < plan.steps * plan.batch_size:
        places += _round(kept, lengths, plan, round_)
        round_ += 1
    return places[: plan.steps * plan.batch_size]


def _round(kept: list[Row], lengths: list[int], plan: Training, number: int) -> list[int]:
    if plan.order == "short-first" and number == 0:
        return sorted(range(len(kept)), key=lambda place: (lengths[place], place))
    if plan.order == "apart":
        return arranged([row.key for row in kept], plan.seed + number)
    shuffled = list(range(len(kept)))
    Random(plan.seed + number).shuffle(shuffled)  # noqa: S311
    return shuffled


def _rank(row: Row, plan: Training) -> str:
    """A place that does not depend on what else there is, so that a smaller share is part of a larger one."""
    return address(plan.seed, row.id)


def _capped(found: list[Row], plan: Training) -> list[Row]:
    if plan.source_cap is None:
        return found
    counts: dict[str, int] = {}
    keep = set()
    for row in sorted(found, key=lambda row: _rank(row, plan)):
        counts[row.source] = counts.get(row.source, 0) + 1
        if counts[row.source] <= plan.source_cap:
            keep.add(id(row))
    return [row for row in found if id(row) in keep]


def _told(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())


def _of_corpus(folder: RunFolder, plan: Training) -> Iterator[Row]:
    word = folder.word()
    statuses = ("accepted", "rejected") if plan.drafts == "all" or plan.objective == "outcome" else ("accepted",)
    for status in statuses:
        found = folder.rows(status, "train")
        for row in word.rows(found) if status == "accepted" else found:
            source = str(row["source"]).rpartition(":")[0] or str(row["source"])
            for place, body in enumerate(_BODIES[plan.objective](folder, row)):
                yield Row(row["id"] if place == 0 else f"{row['id']}.{place}", body, source, likeness(row))


def _chat(folder: RunFolder, row: Body) -> Iterator[Body]:
    example = rows.example(row)
    body: Body = {"messages": rows.messages(row)}
    if tools := example.payload.get("tools"):
        body["tools"] = tools
    if body["messages"] and body["messages"][-1]["role"] == "assistant":
        yield body


def _pairs(folder: RunFolder, row: Body) -> Iterator[Body]:
    if not row.get("tools"):
        yield from trainer_rows.preference(folder, rows.example(row), None)


def _judged(folder: RunFolder, row: Body) -> Iterator[Body]:
    """Whole answers, with whether the verifiers let them pass."""
    messages = rows.messages(row)
    if not row.get("tools") and messages and messages[-1]["role"] == "assistant":
        yield {"prompt": messages[:-1], "completion": messages[-1:], "label": row["status"] == "accepted"}


def _steps(folder: RunFolder, row: Body) -> Iterator[Body]:
    yield from trainer_rows.stepwise(folder, rows.example(row), None)


def _no_rows(folder: RunFolder, row: Body) -> Iterator[Body]:
    yield from ()


def _passage(folder: RunFolder, row: Body) -> Iterator[Body]:
    """A question, and the seed it was asked about."""
    example = rows.example(row)
    kept = [version.instruction for version in example.versions if version.outcome.startswith("kept")]
    asked = kept[-1] if kept else rows.messages(row)[0]["content"]
    yield {"anchor": asked, "positive": folder.seed_of(example).content}


def _relevant(folder: RunFolder, row: Body) -> Iterator[Body]:
    for pair in _passage(folder, row):
        yield {"query": pair["anchor"], "passage": pair["positive"], "label": 1.0}


_BODIES: dict[Objective, Callable[[RunFolder, Body], Iterator[Body]]] = {
    "sft": _chat, "dpo": _pairs, "simpo": _pairs, "outcome": _judged, "process": _steps, "soft": _no_rows,
    "retriever": _passage, "reranker": _relevant,
}  # fmt: skip
_PAIRS = "a corpus has preference pairs if its recipe asks for `candidates` or rounds of refinement; or name a file"
_REMEDIES: dict[Objective, str] = {
    "dpo": _PAIRS,
    "simpo": _PAIRS,
    "process": "name a file of `prompt`, `completions` and `labels` under `training.data`",
    "soft": "name a file of `text` and `probabilities` under `training.data`",
}


def _of_file(path: Path, objective: Objective, files: dict[str, str], left_out: dict[str, int]) -> list[Row]:
    if not path.is_file():
        raise UserError("no such file", where=str(path), remedy="check `training.data` and `training.replay`")
    files[str(path)] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    if objective == "sft":
        found, refused = read_conversations(path)
    else:
        found, refused = _checked(path, objective)
    for line, reason in refused:
        left_out[f"{path.name}: {reason}"] = left_out.get(f"{path.name}: {reason}", 0) + 1
        if not found and len(refused) == 1:
            raise UserError(reason, where=f"{path}:{line}")
    return [Row(address(body), body, path.name, path.name) for body in found]


def _checked(path: Path, objective: Objective) -> tuple[list[Body], list[tuple[int, str]]]:
    found: list[Body] = []
    refused: list[tuple[int, str]] = []
    for line, row in values(path):
        try:
            value = row() if callable(row) else row
            wrong = _wrong(value, objective)
        except ValueError as error:
            value, wrong = None, str(error)
        if wrong:
            refused.append((line, wrong))
        else:
            found.append(value)
    return found, refused


def _wrong(row: Any, objective: Objective) -> str | None:
    """What is wrong with a row, None if nothing."""
    if not isinstance(row, dict):
        return "not an object"
    for key, able in _FORMS[objective].items():
        if key not in row:
            return f"no `{key}`"
        if not able(row[key]):
            return f"`{key}` is not as it must be"
    if objective == "process" and len(row["completions"]) != len(row["labels"]):
        return f"{len(row['completions'])} `completions` and {len(row['labels'])} `labels`"
    if objective in {"dpo", "simpo"} and row["chosen"] == row["rejected"]:
        return "`chosen` is `rejected`"
    return None


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _turns(value: Any) -> bool:
    if _text(value):
        return True
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "content" in one for one in value)


def _label(value: Any) -> bool:
    return isinstance(value, bool | int | float) and 0 <= value <= 1


def _list(able: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(able, value))


def _distribution(value: Any) -> bool:
    return _list(_label)(value) and len(value) > 1 and math.isclose(sum(value), 1, abs_tol=1e-3)


_FORMS: dict[Objective, dict[str, Callable[[Any], bool]]] = {
    "dpo": {"prompt": _turns, "chosen": _turns, "rejected": _turns},
    "simpo": {"prompt": _turns, "chosen": _turns, "rejected": _turns},
    "outcome": {"prompt": _turns, "completion": _turns, "label": _label},
    "process": {"prompt": _text, "completions": _list(_text), "labels": _list(_label)},
    "soft": {"text": _text, "probabilities": _distribution},
    "retriever": {"anchor": _text, "positive": _text},
    "reranker": {"query": _text, "passage": _text, "label": _label},
}
