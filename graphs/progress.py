"""How far a run is, and how it ended."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from understudy.corpus import Accounting


@dataclass(slots=True)
class Progress:
    """How far a run is, for a person to watch."""

    goal: int
    seeds: int
    counts: Counter[str] = field(default_factory=Counter)
    """Settled drafts by status."""
    tokens: int = 0
    """SM tokens of the whole run, also of earlier sittings."""
    cost: float = 0.0
    """Money of the whole run, by the recipe's prices."""
    generated: int = 0
    """Tokens generated in this sitting."""
    started: float = field(default_factory=time.monotonic)
    accepted_before: int = 0
    """Accepted in earlier sittings."""
    alarms: list[str] = field(default_factory=list)
    """What the monitor sounded in this sitting."""
    measuring: bool = False
    """Whether no draft is under way any more, and what was made is being measured: a wide table takes a while."""

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens per second of this sitting."""
        return self.generated / max(1e-9, time.monotonic() - self.started)

    @property
    def eta_s(self) -> float | None:
        """Seconds to the goal at this sitting's rate; None while there is no rate."""
        done = self.counts["accepted"] - self.accepted_before
        left = self.goal - self.counts["accepted"]
        return left * (time.monotonic() - self.started) / done if done else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    folder: Path
    ended: str
    """`goal`, `turns`, `budget`, `disk`, `alarm` or `interrupted`."""
    detail: str
    books: Accounting
    calls_made: int
    """Calls that went to the engine in this sitting."""
    measures: dict[str, float]
