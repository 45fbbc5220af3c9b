"""The recipe's `rows:` block: new rows for a table, from a small sample of real ones."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from understudy.columns import Schema
from understudy.privacy import Privacy, Trend
from understudy.sections import Strict, misplaced

Shares = dict[str, Annotated[float, Field(gt=0, le=1)]]


class Rows(Strict):
    """New rows for a table: the sample is what `seeds` reads, and its rows are never handed on."""

    use_case: str = Field(min_length=3, max_length=300)
    """What the rows are of, in words: `patients examined for heart disease`."""
    columns: str | Schema | None = None
    """The schema: columns by name, or a file that `understudy table schema` wrote; null infers it from the rows."""
    target: tuple[str, ...] = ()
    """Where the schema is inferred: the columns that a VM is to say."""
    question: str = "What is {target}?"
    """What a VM is asked of a row whose other columns it is shown; `{target}` stands for the names of its targets."""
    holdout: str | float = 0.3
    """Real rows that nobody is shown, to measure with: a file of them, or their share of the sample's rows."""
    shown: int = Field(8, ge=2, le=50)
    """Rows that the SM sees at once."""
    deals: int = Field(4, ge=1, le=1000)
    """How often the sample is dealt out anew into groups of rows that are shown together."""
    sketch: float = Field(0.5, ge=0, le=1)
    """Share of the columns whose values are drawn, roughly, before the SM writes a row: as they go together in the
    sample (a Gaussian copula). With 0 only the targets are; a large SM knows what goes together."""
    quotas: dict[str, Shares] = Field({})
    """Of target columns: which share of the rows is to have which value, such as `{fraud: {yes: 0.5, no: 0.5}}`, so
    that rare ones exist. What is measured is drawn to the true shares again. Without: the sample's shares."""
    base_rate: dict[str, Shares] = Field({})
    """The true shares of target values, where the sample is not drawn by them."""
    canaries: int = Field(2, ge=0, le=100)
    """Made-up rows that are mixed into what the SM is shown: one that comes back was copied."""
    privacy: Privacy = Privacy()
    trend: Trend = Trend()

    @model_validator(mode="after")
    def _in_range(self) -> Rows:
        if isinstance(self.holdout, float) and not 0 <= self.holdout <= 0.9:
            raise misplaced(("holdout",), f"{self.holdout:g}", "a share in 0..0.9, or a file")
        for key in ("quotas", "base_rate"):
            for column, shares in getattr(self, key).items():
                if abs(sum(shares.values()) - 1) > 1e-6:
                    raise misplaced((key, column), f"{sum(shares.values()):g}", "shares that add up to 1")
        if self.target and self.columns is not None:
            raise misplaced(("target",), ", ".join(self.target), "nothing: the schema says it with `role: target`")
        return self
