"""Conversations as token ids with labels: the loss is on answers, and each row is checked before a step is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from understudy.errors import UserError

IGNORED = -100
"""The label of a token that is not learned."""
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Sequence:
    """One conversation as a model reads it."""

    ids: list[int]
    labels: list[int]
    """The ids of the tokens to learn, `IGNORED` for all others; as long as `ids`."""
    ends: bool
    """Whether every learned answer has its end-of-turn token among them."""


def sequence(
    messages: Messages, tokenizer: Any, answers: Literal["last", "all"] = "last", tools: Any = None
) -> Sequence:
    """Render a conversation by the tokenizer's chat template and label the last answer, or every one.

    What is an answer is found by rendering the conversation up to it, so any chat template will do whose text of some
    turns begins its text of more.

    Raises:
        UserError: when the template is not such a one.
    """
    options = {"tools": tools} if tools else {}
    whole = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    spans = []
    for place, turn in enumerate(messages):
        if turn["role"] != "assistant" or (answers == "last" and place < len(messages) - 1):
            continue
        head = tokenizer.apply_chat_template(messages[:place], tokenize=False, add_generation_prompt=True, **options)
        upto = tokenizer.apply_chat_template(messages[: place + 1], tokenize=False, **options)
        if not (whole.startswith(upto) and upto.startswith(head)):
            raise UserError(
                "the chat template renders a turn otherwise once others follow, so answers cannot be told apart",
                where=str(tokenizer.name_or_path),
                remedy="learn the last answers alone (`training.answers: last`), or use another base",
            )
        spans.append((len(head), len(upto)))
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    labels = [IGNORED] * len(ids)
    ends = bool(spans)
    for start, end in spans:
        inside = [place for place, (first, _) in enumerate(offsets) if start <= first < end]
        for place in inside:
            labels[place] = ids[place]
        ends = ends and any(ids[place] == tokenizer.eos_token_id for place in inside)
    return Sequence(ids, labels, ends)


def shows_tools(tokenizer: Any) -> bool:
    """Whether the chat template has a place for tools; without, a talk about them would teach nothing true."""
    return "tools" in str(tokenizer.chat_template or "")
