"""Whether more rows pay: a power law through the losses of smaller and larger shares of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 200
# A gain below this share of the loss is not worth twice the rows.
_WORTH = 0.01


@dataclass(frozen=True, slots=True)
class Growth:
    """The law loss(n) = floor + scale * n ** -power, and what it says of twice as many rows."""

    floor: float
    scale: float
    power: float
    rows: int
    """The most that were tried."""
    now: float
    """Loss with all of them, by the law."""
    doubled: float
    """Loss with twice as many, by the law."""
    low: float
    """Of the gain by doubling, the 95 % interval, over resampled held-out examples."""
    high: float

    @property
    def gain(self) -> float:
        """By how much the loss falls if the rows are doubled."""
        return self.now - self.doubled

    @property
    def verdict(self) -> str:
        """In words: whether more data pays."""
        if self.low > _WORTH * self.now:
            return "more data pays"
        if self.high < _WORTH * self.now:
            return "more data does not pay"
        return "it cannot be told whether more data pays"

    def at(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The law at other numbers of rows."""
        return self.floor + self.scale * rows**-self.power


def growth(rows: Sequence[int], losses: Sequence[Sequence[float]], seed: int = 0) -> Growth:
    """Fit the law to mean losses (Hestness et al., arXiv 1712.00409, use this form).

    Args:
        rows: training rows of each arm; at least three different numbers.
        losses: each arm's loss in the same held-out examples, shape (arms, examples).
        seed: of the resampling.
    """
    counts, table = np.asarray(rows, dtype=float), np.asarray(losses, dtype=float)
    floor, scale, power = _fit(counts, table.mean(axis=1))
    most = float(counts.max())

    def gain(law: tuple[float, float, float]) -> float:
        return float(law[1] * (most ** -law[2] - (2 * most) ** -law[2]))

    draw = np.random.default_rng(seed)
    picks = draw.integers(0, table.shape[1], (_ROUNDS, table.shape[1]))
    low, high = np.percentile([gain(_fit(counts, table[:, pick].mean(axis=1))) for pick in picks], [2.5, 97.5])
    now = floor + scale * most**-power
    return Growth(floor, scale, power, int(most), now, now - gain((floor, scale, power)), float(low), float(high))


def _fit(rows: NDArray[np.float64], losses: NDArray[np.float64]) -> tuple[float, float, float]:
    """For each power on a grid, floor and scale by least squares that are not negative; the best of them."""
    from scipy.optimize import nnls

    best: tuple[float, tuple[float, float, float]] | None = None
    for power in np.linspace(0.05, 2, 40):
        (floor, scale), error = nnls(np.stack([np.ones_like(rows), rows**-power], axis=1), losses)
        if best is None or error < best[0] - 1e-12:
            best = (float(error), (float(floor), float(scale), float(power)))
    assert best is not None  # noqa: S101
    return best[1]
