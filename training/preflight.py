"""What a training will see, counted before the model is loaded: lengths, what is left out, what the loss is on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from understudy.errors import UserError
from understudy.training.tokens import IGNORED, Sequence


@dataclass(frozen=True, slots=True)
class Preflight:
    """A training's rows in figures."""

    rows: int
    too_long: int
    """Left out, because nothing is cut."""
    max_tokens: int
    tokens: int
    learned: int | None
    """Tokens that the loss is on; None where rows have labels of their own, or are compared with others."""
    histogram: tuple[tuple[int, int], ...]
    """(up to so many tokens, rows), in ten bins up to `max_tokens`."""
    unended: int
    """Rows with an answer whose end-of-turn token is not in the loss: such a VM may not learn to stop."""

    @property
    def left_out_share(self) -> float:
        """Share of the rows that are too long."""
        return self.too_long / (self.rows + self.too_long)


def preflight(sequences: list[Sequence], too_long: int, max_tokens: int, base: str) -> Preflight:
    """Count, and refuse what would teach nothing.

    Raises:
        UserError: when a row has nothing to learn, or no row's end of turn is in the loss.
    """
    if blank := sum(1 for one in sequences if all(label == IGNORED for label in one.labels)):
        raise UserError(
            f"{blank} of {len(sequences)} rows have no token to learn",
            where=base,
            expected="a chat template that shows the answers",
            remedy="use a base with another chat template",
        )
    unended = sum(1 for one in sequences if not one.ends)
    if unended == len(sequences):
        raise UserError(
            "the end-of-turn token is in no row's loss: the VM would not learn to stop",
            where=base,
            expected="a chat template that ends an answer with the tokenizer's `eos_token`",
            remedy="set `eos_token` in the base's tokenizer_config.json to the token that ends a turn",
        )
    lengths = [len(one.ids) for one in sequences]
    learned = sum(label != IGNORED for one in sequences for label in one.labels)
    return Preflight(
        len(sequences), too_long, max_tokens, sum(lengths), learned, histogram(lengths, max_tokens), unended
    )


def check_some(rows: int, too_long: int, max_tokens: int, with_tools: int) -> None:
    """That rows are left.

    Raises:
        UserError: when none are.
    """
    if rows:
        return
    if with_tools and not too_long:
        raise UserError(
            f"all {with_tools} rows are talks about tools, and the base's chat template shows none",
            remedy="use a base whose chat template has a place for `tools`",
        )
    raise UserError(
        f"no training row fits {max_tokens} tokens ({too_long} are longer)",
        expected="at least one that fits",
        remedy="raise `training.max_tokens`",
    )


def histogram(lengths: list[int], max_tokens: int) -> tuple[tuple[int, int], ...]:
    """Ten bins of equal width up to `max_tokens`, as (upper bound, rows)."""
    width = -(-max_tokens // 10)
    counts = Counter((max(length, 1) - 1) // width for length in lengths)
    return tuple(((place + 1) * width, counts[place]) for place in range(10))
