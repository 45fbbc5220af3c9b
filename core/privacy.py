"""Limits of a synthetic table: what may not be said of the people in the sample, and how near its trends must be.

There is no key that switches privacy off: a limit can be moved, a check cannot be left out.
"""

from __future__ import annotations

from pydantic import Field

from understudy.sections import Strict


class Privacy(Strict):
    """What no synthetic row may do (`near`, `overlap_words`, `alike`), and what the whole table may not."""

    near: float = Field(0.0001, gt=0, le=0.5)
    """A row is a near-copy when it is closer to a row of the sample than all but this share of fresh real rows. At
    0.05 the measure of the whole table becomes a rule for each row, and every twentieth honest row is refused."""
    alike: float = Field(0.9, gt=0.5, le=1)
    """A sensitive text is a near-copy from this similarity on, in 0..1 (Ratcliff and Obershelp)."""
    overlap_words: int = Field(8, ge=2)
    """A run of so many words in common with a sensitive text is too long."""
    hit_rate: float | None = Field(None, gt=0, lt=1)
    """Most rows, as a share, that may be nearer to the sample than 95 % of fresh real rows; null computes it from the
    sizes of the tables."""
    attack_auc: float | None = Field(None, ge=0.5, le=1)
    """Most success of a membership attack, 0.5 being a coin; null computes it from the sizes of the tables."""
    k: int = Field(1, ge=1)
    """Fewest rows that must share each combination of `identifying` values; 1 asks for nothing."""


class Trend(Strict):
    """How near the columns and their relations must be to the real ones."""

    margin: float = Field(1.25, ge=1)
    """Times the distance that 95 % of pairs of real samples of these sizes stay below."""
    rounds: int = Field(200, ge=50)
    """Pairs of real samples that are drawn to learn that distance."""
