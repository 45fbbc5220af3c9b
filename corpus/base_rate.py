"""Rows that were written by quotas, weighed and drawn so that their targets have the true shares again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

from understudy.columns import Record
from understudy.nouns import address

BaseRate = Mapping[str, Mapping[str, float]]
"""Of target columns, the true share of each value."""


def shares(rows: Sequence[Record], name: str) -> dict[str, float]:
    """The share of the rows that each value of a column has."""
    counts = Counter(str(row[name]) for row in rows if row.get(name) is not None)
    return {value: count / counts.total() for value, count in sorted(counts.items())}


def weights(rows: Sequence[Record], base_rate: BaseRate) -> list[float]:
    """A weight for each row, their mean being 1: the true share of its values over the share that they have here.

    A value without a true share weighs nothing.
    """
    found = [1.0] * len(rows)
    for name, true in base_rate.items():
        here = shares(rows, name)
        for place, row in enumerate(rows):
            value = str(row.get(name))
            found[place] *= true.get(value, 0.0) / here[value] if value in here else 0.0
    mean = sum(found) / len(found) if found else 0.0
    return [weight / mean for weight in found] if mean else found


def drawn(rows: Sequence[Record], weights: Sequence[float], seed: int) -> list[Record]:
    """As many of the rows as these weights allow, each kept with a chance in proportion to its weight."""
    most = max(weights, default=0.0)
    rng = Random(address(seed, "base rate"))  # noqa: S311
    return [row for row, weight in zip(rows, weights, strict=True) if rng.random() * most < weight]
