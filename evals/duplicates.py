"""Near-duplicates, as deduplication met them: how many, by which pass, how near."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

_BINS = 100  # of 0.01 each, over 0..1
_PASSES = {"minhash": "same words", "embedding": "same meaning"}


class Duplicates:
    """Takes in drafts that ended as duplicates, and how many others were compared."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._near: dict[str, list[int]] = {name: [0] * _BINS for name in _PASSES}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a draft; only a duplicate counts."""
        if row["status"] != "duplicate":
            return
        self._reasons[str(row["reason"])] += 1
        for verdict in row["verdicts"]:
            name = verdict["by"].removeprefix("dedup/")
            if verdict["by"].startswith("dedup/") and name in self._near and verdict["score"] is not None:
                # Similarities are rounded to six digits; one of 0.91 belongs to the bin that begins there.
                place = math.floor(verdict["score"] * _BINS + 1e-6)
                self._near[name][min(_BINS - 1, max(0, place))] += 1

    def figures(self, admitted: int) -> dict[str, Any]:
        """Counts by reason and their share of all drafts that were compared, and histograms of the similarities.

        `admitted` is how many passed the gate; those that were found alike only after refinement are among them.
        """
        at_gate = sum(self._reasons[reason] for reason in _PASSES.values())
        compared, found = admitted + at_gate, self._reasons.total()
        return {
            "n": compared,
            "duplicates": found,
            "share": found / compared if compared else None,
            "reasons": dict(sorted(self._reasons.items())),
            "similarity": {name: _histogram(bins) for name, bins in self._near.items() if any(bins)},
        }


def _histogram(bins: list[int]) -> list[dict[str, Any]]:
    """From the lowest bin that has any up to 1."""
    first = next(place for place, count in enumerate(bins) if count)
    return [
        {"from": place / _BINS, "to": (place + 1) / _BINS, "count": bins[place]} for place in range(first, len(bins))
    ]
