"""A ranked list: how likely a VM finds one answer for each row, at its true share, and what of a row speaks for it.

A VM that learned from rows in which a rare answer was made common finds it too often. Where only the shares differ, the
log-odds are off by a constant (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002), which is taken off.
A reason is a field without which the answer would be less likely (leave-one-out occlusion, Zeiler and Fergus 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.evals.answering import Prompt, Watch
from understudy.evals.interval import Interval, bootstrap
from understudy.evals.tasks import Speaker

Fields = Mapping[str, str]
Asked = Callable[[Fields], Prompt]
"""How a VM is asked about a row of which these fields are known."""
_BINS = 10


@dataclass(frozen=True, slots=True)
class Suspect:
    """One row of the list."""

    place: int
    """Which row it is, from 0."""
    odds: float
    """Natural log-odds of the answer, at the true share."""
    reasons: tuple[tuple[str, float], ...]
    """Fields that speak for the answer, the strongest first, each with the log-odds that it adds."""

    @property
    def probability(self) -> float:
        """Of the answer, in 0..1."""
        return 1 / (1 + math.exp(-self.odds)) if self.odds > -700 else 0.0


def suspects(
    rows: Sequence[Fields], asked: Asked, speaker: Speaker, choices: Sequence[str], positive: str, *,
    learned: float, true: float, top: int, reasons: int = 3, watch: Watch | None = None,
) -> list[Suspect]:  # fmt: skip
    """All rows, the most suspicious first; the first `top` of them with their reasons.

    Args:
        rows: the fields of each.
        asked: makes the question.
        speaker: the VM.
        choices: all answers there are.
        positive: the answer that is looked for.
        learned: its share in what the VM learned from, in 0..1, both excluded.
        true: its share where the VM is used, in 0..1, both excluded.
        top: how many get reasons.
        reasons: most reasons of each.
        watch: called with (done, all) of the questions.
    """
    shift = _logit(true) - _logit(learned)
    odds = _odds(speaker, [asked(row) for row in rows], choices, positive, watch)
    order = sorted(range(len(rows)), key=lambda place: (-odds[place], place))
    without = [(place, name) for place in order[:top] for name in rows[place]] if reasons else []
    less = _odds(
        speaker, [asked({key: value for key, value in rows[place].items() if key != name}) for place, name in without],
        choices, positive, watch,
    )  # fmt: skip
    added: dict[int, list[tuple[str, float]]] = {}
    for (place, name), left in zip(without, less, strict=True):
        if odds[place] > left:
            added.setdefault(place, []).append((name, odds[place] - left))
    return [
        Suspect(place, odds[place] + shift, tuple(sorted(added.get(place, ()), key=lambda one: -one[1])[:reasons]))
        for place in order
    ]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether probabilities are what they say."""

    brier: Interval
    """Mean squared error of the probabilities."""
    of_base_rate: float
    """The same of whoever always says the share of the answer."""
    error: Interval
    """Expected calibration error: mean distance of probability and share, over tenths of the rows by probability."""
    bins: tuple[tuple[float, float, int], ...]
    """Of each tenth: mean probability, share of the answer, rows."""


def calibration(probabilities: Sequence[float], relevant: Sequence[bool], seed: int = 0) -> Calibration:
    """Hold probabilities against what was found.

    Raises:
        ValueError: when there are no rows.
    """
    chance, truth = np.array(probabilities, float), np.array(relevant, float)
    if not len(chance):
        raise ValueError("no rows")
    order = np.argsort(chance, kind="stable")
    tenths = [part for part in np.array_split(order, _BINS) if len(part)]

    def brier(picks: Any) -> Any:
        return ((chance[picks] - truth[picks]) ** 2).mean(axis=1)

    def error(picks: Any) -> Any:
        out = []
        for one in picks:
            drawn = one[np.argsort(chance[one], kind="stable")]
            parts = [part for part in np.array_split(drawn, _BINS) if len(part)]
            out.append(sum(abs(chance[p].mean() - truth[p].mean()) * len(p) for p in parts) / len(one))
        return np.array(out)

    return Calibration(
        bootstrap(brier, len(chance), seed=seed), float(truth.mean() * (1 - truth.mean())),
        bootstrap(error, len(chance), rounds=500, seed=seed),
        tuple((float(chance[part].mean()), float(truth[part].mean()), len(part)) for part in tenths),
    )  # fmt: skip


def _odds(
    speaker: Speaker, prompts: Sequence[Prompt], choices: Sequence[str], positive: str, watch: Watch | None
) -> list[float]:
    """Natural log-odds of one choice against all others."""
    if not prompts:
        return []
    aim = list(choices).index(positive)
    found = []
    for scores in speaker.scores(prompts, choices, watch=watch):
        others = [score for place, score in enumerate(scores) if place != aim]
        high = max(others)
        found.append(scores[aim] - high - math.log(sum(math.exp(score - high) for score in others)))
    return found


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
