"""The recipe's `labels:` block: the label is drawn first, then a text is written that has it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from understudy.round_trip import RoundTrip
from understudy.sections import misplaced

Value = Annotated[str, StringConstraints(pattern=r"^[^\W_][\w .,'&+/-]{0,39}$")]
Share = Annotated[float, Field(gt=0, le=1)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Labels(RoundTrip):
    """Texts for a classifier, each written for a label that was drawn before it."""

    task: str = Field(min_length=3, max_length=300)
    """What is asked of a text: `How does the writer feel about the tool?`"""
    text: str = Field(min_length=3, max_length=200)
    """What is written: `a short review of a kitchen tool`."""
    values: dict[Value, Share]
    """The labels, each with its share of `accept`. The shares hold exactly, to the last example."""
    meaning: dict[str, Words] = Field({})
    """What a text with a label is like, as the end of a sentence that begins with `In it`: `the writer is glad to have
    it`. Where there is one, whoever writes is not told the label itself."""
    leaks: tuple[Words, ...] = ()
    """Further words and phrases that give a label away; a text with one of them is refused."""
    topics: tuple[Words, ...] = ()
    """What texts are about, to spread them; each draft draws one."""
    lengths: tuple[Words, ...] = ()
    """How long texts are, such as `one sentence`; each draft draws one."""
    base_rate: dict[str, Share] = Field({})
    """The true shares of the labels, where they are known: the report gives the weight of each."""

    @model_validator(mode="after")
    def _in_order(self) -> Labels:
        if len(self.values) < 2:
            raise misplaced(("values",), ", ".join(self.values) or "no label", "at least two labels")
        folded: dict[str, str] = {}
        for value in self.values:
            if (twin := folded.setdefault(value.casefold(), value)) != value:
                raise misplaced(("values", value), value, f"a label that differs from `{twin}` by more than case")
        for key in ("values", "base_rate"):
            shares: dict[str, float] = getattr(self, key)
            if shares and abs(sum(shares.values()) - 1) > 1e-6:
                raise misplaced((key,), f"{sum(shares.values()):g} in all", "shares that add up to 1")
        for key in ("meaning", "base_rate"):
            for value in getattr(self, key):
                if value not in self.values:
                    raise misplaced((key, value), value, f"one of: {', '.join(self.values)}")
        return self

    def meanings(self) -> dict[str, str]:
        """What every label means; empty where nothing is said of it."""
        return {value: self.meaning.get(value, "") for value in self.values}
