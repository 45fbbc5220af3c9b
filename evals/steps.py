"""From the scores of a solution's steps to one of the whole, and to the step that is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence


def product_score(steps: Sequence[float]) -> float:
    """The probability that every step is right (Lightman et al., arXiv 2305.20050, section 2.6)."""
    return math.prod(steps)


def worst_score(steps: Sequence[float]) -> float:
    """The score of the weakest step (Wang et al., arXiv 2312.08935, section 3.4)."""
    return min(steps)


def first_error(steps: Sequence[float]) -> int:
    """Which step a reward model blames: the one with the lowest score, the earliest of equals."""
    return min(range(len(steps)), key=lambda place: steps[place])
