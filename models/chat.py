"""From chat messages to the tokens a model reads, by its own tokenizer."""

from __future__ import annotations

from typing import Any

from understudy.errors import EngineRefused, ModelError
from understudy.nouns import Messages


def check_tokenizer(tokenizer: Any, where: str) -> None:
    """That a tokenizer knows how a conversation is written.

    Raises:
        ModelError: when it does not.
    """
    if tokenizer.chat_template is None:
        raise ModelError("its tokenizer has no chat template", where=where, expected="an instruction-tuned model")


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """The tokens of a conversation, up to where the reply begins."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def check_length(prompt: int, reply: int, context: int | None) -> None:
    """That prompt and reply fit the model.

    Raises:
        EngineRefused: with all three figures.
    """
    if context and prompt + reply > context:
        raise EngineRefused(
            f"context overflow: {prompt} prompt tokens and {reply} for the reply, the model takes {context}",
            remedy="lower `chunk_tokens` or `rows_per_seed`",
        )
