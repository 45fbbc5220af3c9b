"""Where drafts went: from the kind of their seed over skill and last step to what became of them.

Each draft is one journey of four stops, so what flows into a stop flows out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from understudy.traces.costs import planned_skill

STOPS = ("seeds", "skill", "last step", "outcome")
# By the family of the last agent in a draft's path.
_STEPS = {
    "plan": "planned", "label": "planned", "persona": "persona", "persona-set": "persona", "transform": "material",
    "instruct": "instruction", "answer": "answer", "refine": "refinement", "noise": "noise", "judge": "judgement",
}  # fmt: skip
_GATE = ("same words", "same meaning")


class Journeys:
    """Counts drafts by their journeys."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a draft."""
        self._counts[row["seed_kind"], planned_skill(row), last_step(row), outcome(row)] += 1

    def figures(self) -> list[dict[str, Any]]:
        """The journeys, the commonest first."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return [dict(zip(STOPS, stops, strict=True)) | {"drafts": count} for stops, count in ordered]


def last_step(row: Mapping[str, Any]) -> str:
    """How far a draft came: the step that its last agent took; `gate` for one that was met there."""
    if row["status"] == "duplicate" and row["reason"] in _GATE:
        return "gate"
    if not row["path"]:
        return "none"
    family = str(row["path"][-1]).split("/")[0]
    return _STEPS.get(family, family)


def outcome(row: Mapping[str, Any]) -> str:
    """What became of a draft: `accepted`, or its status and the reason, of a failure without the agent."""
    if row["status"] == "accepted":
        return "accepted"
    reason = str(row["reason"])
    if row["status"] == "failed":
        reason = reason.split(":")[0]
    return f"{row['status']}: {reason}"
