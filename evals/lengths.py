"""How long texts are: exact quantiles and a histogram, from counts of each length."""

from __future__ import annotations

from collections import Counter
from typing import Any

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_BARS = 24


class Lengths:
    """Counts lengths, in words."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, length: int) -> None:
        """Count one text."""
        self._counts[length] += 1

    def figures(self) -> dict[str, Any] | None:
        """Mean, quantiles and a histogram of at most 24 bars of equal width; None without a text.

        A quantile is a length that occurs: the least that at least so large a share of the texts does not exceed.
        The last bar has what is above the 99th percentile, however long, and so it may be wider.
        """
        n = self._counts.total()
        if not n:
            return None
        return {
            "n": n,
            "mean": sum(length * count for length, count in self._counts.items()) / n,
            "quantiles": {f"{share:g}": self._quantile(share) for share in QUANTILES},
            "histogram": self._histogram(),
        }

    def _quantile(self, share: float) -> int:
        rank, seen = max(1.0, share * self._counts.total()), 0
        for length in sorted(self._counts):
            seen += self._counts[length]
            if seen >= rank - 1e-9:
                return length
        raise AssertionError("a share above 1")

    def _histogram(self) -> list[dict[str, int]]:
        low, high, most = min(self._counts), self._quantile(0.99), max(self._counts)
        width = -(-(high - low + 1) // _BARS)
        starts = range(low, high + 1, width)
        bars = [{"from": start, "to": start + width - 1, "count": 0} for start in starts]
        for length, count in self._counts.items():
            bars[min((length - low) // width, len(bars) - 1)]["count"] += count
        bars[-1]["to"] = max(bars[-1]["to"], most)
        return bars
