"""How sure a share, a difference of two shares, or a difference of two means is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Picks = NDArray[np.int64]
"""Numbers of rows, shape (samples, rows in a sample)."""
Statistic = Callable[[Picks], NDArray[np.float64]]
"""What samples of rows come to, shape (samples,); NaN where a sample leaves it open."""

# So many picks are looked at in one go: a few megabytes.
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, or another statistic, with the bounds that hold it with 95 % confidence."""

    mean: float
    low: float
    high: float
    n: int


def paired_bootstrap(one: list[float], other: list[float], *, rounds: int = 2000, seed: int = 0) -> Interval:
    """The mean of `one - other`, item by item, and its 95 % percentile interval (Efron, 1979).

    Raises:
        ValueError: when the lists differ in length or are empty.
    """
    if len(one) != len(other) or not one:
        raise ValueError(f"paired lists of one length are needed, got {len(one)} and {len(other)}")
    gaps = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(gaps), (rounds, len(gaps)))
    low, high = np.percentile(gaps[picks].mean(axis=1), [2.5, 97.5])
    return Interval(float(gaps.mean()), float(low), float(high), len(gaps))


def bootstrap(statistic: Statistic, n: int, *, rounds: int = 2000, seed: int = 0) -> Interval:
    """A statistic of n rows and its 95 % percentile interval: rows are drawn with replacement (Efron, 1979).

    Samples that leave the statistic open are not counted; it is NaN with its bounds if all rows do.

    Raises:
        ValueError: without a row.
    """
    if n < 1:
        raise ValueError("rows are needed, got none")
    value = float(statistic(np.arange(n, dtype=np.int64)[None])[0])
    random = np.random.default_rng(seed)
    found = []
    for start in range(0, rounds, step := max(1, _AT_ONCE // n)):
        found.append(statistic(random.integers(0, n, (min(step, rounds - start), n))))
    known = np.concatenate(found)
    known = known[~np.isnan(known)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) and not math.isnan(value) else (math.nan, math.nan)
    return Interval(value, float(low), float(high), n)


def bootstrap_difference(one: Statistic, other: Statistic, n: int, *, rounds: int = 2000, seed: int = 0) -> Interval:
    """The statistic of one system minus that of another on the same n rows, each sample drawn for both at once."""
    return bootstrap(lambda picks: one(picks) - other(picks), n, rounds=rounds, seed=seed)


def wilson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share, count of n (Wilson, 1927); all of 0..1 without any observation."""
    if not n:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / n
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the bound is the share itself, whatever the last digit says.
    low = 0.0 if count == 0 else (middle - reach) / (1 + z * z / n)
    high = 1.0 if count == n else (middle + reach) / (1 + z * z / n)
    return low, high


def difference(count: int, n: int, other_count: int, other_n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the difference of two independent shares (Newcombe, 1998, method 10), first minus other.

    Without any observation on one side it is all of what the other side leaves open.
    """
    share = count / n if n else 0.5
    other = other_count / other_n if other_n else 0.5
    low, high = wilson(count, n, confidence)
    other_low, other_high = wilson(other_count, other_n, confidence)
    gap = share - other
    return gap - math.hypot(share - low, other_high - other), gap + math.hypot(high - share, other - other_low)
