"""How sure a difference of two means is: the paired bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the bounds that hold it with 95 % confidence."""

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
