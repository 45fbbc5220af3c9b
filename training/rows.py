"""Corpus rows as training rows, checked before a step is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from understudy.errors import UserError


@dataclass(frozen=True, slots=True)
class Fit:
    """What of a corpus can be trained on."""

    rows: list[dict[str, Any]]
    """`prompt` and `completion`, each a list of messages: TRL then puts the loss on the completion alone."""
    kept: list[int]
    """Which of the conversations these are."""
    too_long: int
    lengths: list[int]
    """Tokens of each kept row."""


def fit(conversations: list[list[dict[str, Any]]], tokenizer: Any, max_tokens: int) -> Fit:
    """Split each conversation before its last turn and leave out what is longer than `max_tokens`.

    Raises:
        UserError: when nothing is left, or the chat template hides the answers from the loss.
    """
    rows, kept, lengths, too_long = [], [], [], 0
    for place, messages in enumerate(conversations):
        prompt, completion = messages[:-1], messages[-1:]
        head = len(_ids(tokenizer, prompt, add_generation_prompt=True))
        whole = len(_ids(tokenizer, messages))
        if whole > max_tokens:
            too_long += 1
            continue
        if whole <= head:
            raise UserError(
                "the chat template leaves no answer tokens to learn from", where=str(tokenizer.name_or_path)
            )
        rows.append({"prompt": prompt, "completion": completion})
        kept.append(place)
        lengths.append(whole)
    if not rows:
        raise UserError(
            f"no training row fits {max_tokens} tokens ({too_long} are longer)"
            if too_long
            else "the corpus has no training rows",
            expected="at least one accepted example in the train split",
            remedy="raise `training.max_tokens`, or generate more examples",
        )
    return Fit(rows, kept, too_long, lengths)


def _ids(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids
