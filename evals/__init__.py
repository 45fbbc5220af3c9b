"""Measuring: one example (`rules.py`), a corpus (`diversity.py`), a VM against its base (`heldout.py`).

A rule is a plain function in the tuple `RULES`; adding one is one function, one line there, one test.
"""

from understudy.evals.diversity import measures
from understudy.evals.interval import Interval, paired_bootstrap
from understudy.evals.rules import RULES, Pair, quality, verdicts

__all__ = ["RULES", "Interval", "Pair", "measures", "paired_bootstrap", "quality", "verdicts"]
