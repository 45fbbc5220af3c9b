"""What became of drafts for labels or kinds of answers: shares before and after, leaks, and what was found again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.evals.interval import wilson


@dataclass(slots=True)
class LabelCounts:
    """Counts drafts by label, one after another."""

    shares: Mapping[str, float]
    """What was wanted of each label, or kind of answer."""
    base_rate: Mapping[str, float] = field(default_factory=dict)
    """The true shares, where they are known."""
    drafts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By label and status, or reason."""
    asked: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """Round trips by label and whether the label was found again."""
    voted: float = 0.0
    """Sum over round trips of the share of votes for what was drawn."""

    def add(self, label: str | None, row: Mapping[str, Any]) -> None:
        """Count a draft that was for a label."""
        if label is None:
            return
        self.drafts[label, row["status"]] += 1
        if row["status"] == "rejected":
            self.drafts[label, "leak" if row["reason"].endswith("-leak") else row["reason"]] += 1
        for verdict in row["verdicts"]:
            if verdict["by"].startswith("round-trip/"):
                self.asked[label, verdict["passed"]] += 1
                self.voted += verdict["score"]

    def figures(self, writers: Sequence[str], solvers: Sequence[str], votes: int, independent: bool) -> dict[str, Any]:
        """For JSON: a line for each label, the round trip in all, and whether who judged was not who wrote.

        `weight` is what an example counts by the true shares, where the recipe knows them.
        """
        by_status = {status: sum(self.drafts[value, status] for value in self.shares)
                     for status in ("accepted", "rejected", "duplicate", "failed")}  # fmt: skip
        whole = sum(by_status.values())
        accepted = by_status["accepted"]
        lines = []
        for value, quota in self.shares.items():
            drafts = sum(self.drafts[value, status] for status in by_status)
            found, tried = self.asked[value, True], self.asked[value, True] + self.asked[value, False]
            low, high = wilson(found, tried)
            lines.append({
                "name": value, "quota": quota, "drafts": drafts, "accepted": self.drafts[value, "accepted"],
                "leaks": self.drafts[value, "leak"], "surplus": self.drafts[value, "quota"],
                "share_before": drafts / whole if whole else None,
                "share_after": self.drafts[value, "accepted"] / accepted if accepted else None,
                "asked": tried, "found_again": found, "rate": found / tried if tried else None,
                "low": low if tried else None, "high": high if tried else None,
                "weight": self.base_rate.get(value, 0.0) / quota if self.base_rate else None,
            })  # fmt: skip
        tried, found = sum(self.asked.values()), sum(self.asked[value, True] for value in self.shares)
        return {
            "values": lines,
            "round_trip": {
                "asked": tried, "found_again": found, "rate": found / tried if tried else None,
                "votes": self.voted / tried if tried else None,
            },
            "votes": votes,
            "independent": independent,
            "writers": list(writers),
            "solvers": list(solvers),
        }  # fmt: skip
