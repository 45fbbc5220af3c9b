"""Measuring: one example (`rules.py`), a corpus (`diversity.py`), a VM against its base (`heldout.py`).

Measures of a corpus are one file each: how varied (`diversity.py`, `templates.py`, `space.py`) and how long texts are
(`lengths.py`), near-duplicates (`duplicates.py`), how verifiers agree (`agreement.py`), whom acceptance favours
(`bias.py`), and what stands in a benchmark (`contamination.py`). `graphs/figures.py` calls them all.

While a run goes on: what rewording must keep (`invariants.py`, and `typos.py`, which needs no SM), which voice adds
most (`allocation.py`), and what a batch is watched for (`monitor.py`).

Of texts that are written for labels: whether one names its label (`label_leak.py`), and what became of them
(`label_figures.py`).

Of a synthetic table: one row against the sample (`row_privacy.py`), the whole (`privacy.py`, `fidelity.py`,
`detection.py`, `useful.py`), all of it as figures (`table_figures.py`); distances are in `table_space.py`.

What a VM's answers are worth on a task: `task_file.py` (what a task is), `tasks.py` (its rows, and asking),
`answering.py` (models on this machine) or `sm_answering.py`, then `task_measures.py` and `interval.py`. `forgetting.py`
says what it unlearned, `harness.py` runs known benchmarks.

A rule is a plain function in the tuple `RULES`; adding one is one function, one line there, one test.
"""

from understudy.evals.diversity import measures
from understudy.evals.elimination import added, eliminated
from understudy.evals.interval import Interval, paired_bootstrap
from understudy.evals.rules import (
    INSTRUCTION_RULES,
    LABELLED_RULES,
    PERSONA_RULES,
    RECORD_RULES,
    RULES,
    Pair,
    faithful_passage,
    on_topic,
    quality,
    verdicts,
    words,
)

__all__ = [
    "INSTRUCTION_RULES",
    "LABELLED_RULES",
    "PERSONA_RULES",
    "RECORD_RULES",
    "RULES",
    "Interval",
    "Pair",
    "added",
    "eliminated",
    "faithful_passage",
    "measures",
    "on_topic",
    "paired_bootstrap",
    "quality",
    "verdicts",
    "words",
]
