"""Measuring: one example (`rules.py`), a corpus (`diversity.py`), a VM against its base (`heldout.py`).

A rule is a plain function in the tuple `RULES`; adding one is one function, one line there, one test.
"""

from understudy.evals.diversity import measures
from understudy.evals.interval import Interval, paired_bootstrap
from understudy.evals.rules import INSTRUCTION_RULES, RULES, Pair, faithful_passage, quality, verdicts

__all__ = [
    "INSTRUCTION_RULES",
    "RULES",
    "Interval",
    "Pair",
    "faithful_passage",
    "measures",
    "paired_bootstrap",
    "quality",
    "verdicts",
]
