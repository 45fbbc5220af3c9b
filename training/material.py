"""Rows as their objective's trainer reads them, measured before a model is loaded; what cannot be read is counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import ModelError
from understudy.lessons import ENCODERS, Objective, Training
from understudy.training import heads, retrieval
from understudy.training.data import Row
from understudy.training.preflight import Preflight, check_some, histogram, preflight
from understudy.training.tokens import Sequence, sequence, shows_tools

HEADED: tuple[Objective, ...] = ("outcome", "process", "soft")


@dataclass(frozen=True, slots=True)
class Material:
    """What is learned from."""

    tokenizer: Any
    rows: list[Row]
    read: list[Any]
    """Of each row, what a model reads: a `Sequence`, or of a model with a head ids and labels; else None."""
    lengths: list[int]
    """Tokens of each row."""
    with_tools: int
    """Rows left out because the chat template shows no tools."""
    figures: Preflight


def material(plan: Training, base: Path, rows: tuple[Row, ...]) -> Material:
    """Tokenise rows and leave out what is too long, or about tools that cannot be shown.

    Raises:
        ModelError: when the base has no chat template and the objective wants one.
        UserError: when what is left would teach nothing.
    """
    tokenizer = _tokenizer(plan, base)
    tools = shows_tools(tokenizer)
    kept: list[tuple[Row, Any, int]] = []
    too_long = with_tools = 0
    for row in rows:
        if row.body.get("tools") and not tools:
            with_tools += 1
            continue
        read, length = _read(row, plan, tokenizer)
        # An encoder cuts what it cannot read, as it will when it is used.
        if length > plan.max_tokens and plan.objective not in ENCODERS:
            too_long += 1
            continue
        kept.append((row, read, length))
    lengths = [length for _, _, length in kept]
    check_some(len(kept), too_long, plan.max_tokens, with_tools)
    sequences = [read for _, read, _ in kept if isinstance(read, Sequence)]
    if sequences:
        figures = preflight(sequences, too_long, plan.max_tokens, str(base))
    else:
        bars = histogram(lengths, plan.max_tokens)
        figures = Preflight(len(kept), too_long, plan.max_tokens, sum(lengths), None, bars, 0)
    return Material(tokenizer, [row for row, _, _ in kept], [read for _, read, _ in kept], lengths, with_tools, figures)


def _tokenizer(plan: Training, base: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if plan.objective in {"sft", "dpo", "simpo", "outcome"} and not tokenizer.chat_template:
        raise ModelError(
            "the base has no chat template", where=str(base), expected="a tokenizer with one",
            remedy="use an instruction-tuned base, or add chat_template.jinja to its folder",
        )  # fmt: skip
    return tokenizer


def _read(row: Row, plan: Training, tokenizer: Any) -> tuple[Any, int]:
    body = row.body
    if plan.objective == "sft":
        made = sequence(body["messages"], tokenizer, plan.answers, body.get("tools"))
        return made, len(made.ids)
    if plan.objective in HEADED:
        item = heads.item(body, plan.objective, tokenizer)
        return item, len(item["input_ids"])
    if plan.objective in ENCODERS:
        return None, retrieval.length(body, tokenizer)
    return None, max(len(heads.answered(body["prompt"], body[side], tokenizer)) for side in ("chosen", "rejected"))
