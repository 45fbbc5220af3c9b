"""The recipe's `answers:` block: an answer is drawn from the seed first, then a question is written that it answers."""

from __future__ import annotations

from typing import Annotated

import regex
from pydantic import Field, StringConstraints, model_validator

from understudy.labels import Share, Value
from understudy.round_trip import RoundTrip
from understudy.sections import misplaced

BUILT_IN = ("number", "name")
"""Kinds of answers that are found without a pattern."""
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Answers(RoundTrip):
    """Questions about a text, each written for an answer that was drawn from the text before it."""

    kinds: dict[Value, Share] = Field({"number": 0.5, "name": 0.5})
    """What answers are, each kind with its share of `accept`; the shares hold exactly. `number` and `name` (a run of
    capitalised words) are known, others want a pattern."""
    patterns: dict[Value, Pattern] = Field({})
    """Regular expressions of further kinds: `{dose: '\\d+ mg'}`."""

    @model_validator(mode="after")
    def _known(self) -> Answers:
        if abs(whole := sum(self.kinds.values()) - 1) > 1e-6:
            raise misplaced(("kinds",), f"{1 + whole:g} in all", "shares that add up to 1")
        for kind in self.kinds:
            if kind not in BUILT_IN and kind not in self.patterns:
                raise misplaced(("kinds", kind), kind, f"{' or '.join(BUILT_IN)}, or a kind that `patterns` describes")
        for kind, pattern in self.patterns.items():
            if kind not in self.kinds or kind in BUILT_IN:
                raise misplaced(("patterns", kind), kind, "another kind that `kinds` gives a share")
            try:
                regex.compile(pattern)
            except regex.error as error:
                raise misplaced(("patterns", kind), pattern, f"a regular expression: {error}") from error
        return self
