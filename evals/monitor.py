"""What every batch of a run is watched for: less variety, drifting groups, labels off target, one model that fails.

Batches are of drafts in plan order, so a run that was stopped is watched as one that never was. An alarm is sounded
when something begins, not in every batch that it lasts; what is tested in every batch is tested more strictly in each
(alpha spending), so that of twenty runs without a fault one is expected to have an alarm at most.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import NormalDist, fmean, median
from typing import Any

from understudy.evals.diversity import compression, distinct
from understudy.evals.interval import wilson
from understudy.evals.invariants import label_of
from understudy.evals.lengths import Lengths
from understudy.evals.rules import words
from understudy.variety import Monitor

FALL, PSI, LEAST_ERRORS, HALF = 0.1, 0.2, 2.0, 0.5
"""A fall of distinct-2; a drift of a group (0.2 is the usual bound of the index); standard errors of a label's share;
and of a model's acceptance, the part of the median."""
_ALPHA = 0.01
_ROLLING = 5
"""Batches that distinct-2 is compared with; at least two."""
_LEAST_EXPECTED = 5
_LEAST_DRAFTS = 10
_MOST_VALUES = 2000
_KEPT_BATCHES, _KEPT_ALARMS = 50, 200
_LISTED = 10
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is looked at of one draft."""

    accepted: bool
    asked: str
    said: str
    groups: Mapping[str, str | None]
    """By group, the value; None where it is not known."""
    models: tuple[str, ...] = ()
    """Of several that could have spoken, those that did."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a batch began to do."""

    batch: int
    """From 1."""
    kind: str
    """`distinct-2`, `group`, `label` or `model`."""
    what: str
    """Which group, label or model."""
    told: str
    """The finding in words."""


@dataclass(slots=True)
class _Batch:
    drafts: int = 0
    texts: list[tuple[str, str]] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Counter[str]] = field(default_factory=dict)
    models: dict[str, list[int]] = field(default_factory=dict)
    """Drafts and accepted ones."""


class Watched:
    """Takes in drafts in plan order; `figures` says what was seen."""

    def __init__(self, settings: Monitor) -> None:
        self._settings = settings
        self._batch = _Batch()
        self._number = 0
        self._grams: deque[Counter[tuple[str, str]]] = deque(maxlen=_ROLLING)
        self._before: dict[str, Counter[str]] = {name: Counter() for name in settings.groups}
        self._standing: set[tuple[str, str]] = set()
        self._told: deque[dict[str, Any]] = deque(maxlen=_KEPT_BATCHES)
        self.alarms: list[Alarm] = []
        """All so far, at most 200."""
        self.sounded = 0
        """How many there were."""

    def add(self, seen: Seen) -> list[Alarm]:
        """Take in a draft; one that fills a batch returns the alarms of that batch."""
        batch = self._batch
        batch.drafts += 1
        for model in seen.models:
            counts = batch.models.setdefault(model, [0, 0])
            counts[0] += 1
            counts[1] += seen.accepted
        if seen.accepted:
            batch.texts.append((seen.asked, seen.said))
            if label := label_of(seen.said):
                batch.labels[label.casefold()] += 1
            for name in self._settings.groups:
                if (value := seen.groups.get(name)) is not None:
                    batch.groups.setdefault(name, Counter())[value] += 1
        if batch.drafts < self._settings.batch:
            return []
        self._batch = _Batch()
        return self._closed(batch)

    def _closed(self, batch: _Batch) -> list[Alarm]:
        self._number += 1
        asked, said = [one for one, _ in batch.texts], [words(one) for _, one in batch.texts]
        lengths = Lengths()
        for text in said:
            lengths.add(len(text))
        grams = Counter(pair for text in said for pair in pairwise(text))
        drifts = {name: _drift(self._before[name], counts) for name, counts in batch.groups.items()}
        self._told.append(
            {
                "batch": self._number, "drafts": batch.drafts, "accepted": len(batch.texts),
                **{f"distinct-{n}": distinct(said, n) for n in (1, 2, 3)},
                "compression": compression([*asked, *(one for _, one in batch.texts)]) if batch.texts else None,
                "answer-words": lengths.figures(),
                "labels": dict(batch.labels.most_common(_LISTED)),
                "groups": {
                    name: {"n": counts.total(), "shares": _shares(counts), "psi": psi, "js": js}
                    for name, counts in batch.groups.items()
                    for psi, js, _ in [drifts[name]]
                },
                "models": {name: {"drafts": n, "accepted": good} for name, (n, good) in sorted(batch.models.items())},
            }
        )  # fmt: skip
        found = [*self._less_varied(grams), *self._drifted(drifts), *self._mislabelled(batch)]
        found += _failing(batch.models, self._alpha)
        self._grams.append(grams)
        for name, counts in batch.groups.items():
            _enter(self._before[name], counts)
        now = {(kind, what) for kind, what, _ in found}
        new = [Alarm(self._number, *one) for one in found if one[:2] not in self._standing]
        self._standing = now
        self.sounded += len(new)
        self.alarms += new[: _KEPT_ALARMS - len(self.alarms)]
        return new

    def _less_varied(self, grams: Counter[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """Compared at equal size, since a share of different pairs falls as text is added."""
        if len(self._grams) < 2 or not grams:
            return []
        least = min(one.total() for one in (*self._grams, grams) if one)
        usual = fmean(_rarefied(one, least) for one in self._grams if one)
        here = _rarefied(grams, least)
        if here >= (1 - FALL) * usual:
            return []
        told = f"distinct-2 is {here:.3f}, {1 - here / usual:.0%} below the {usual:.3f} of the batches before"
        return [("distinct-2", "answers", told)]

    def _drifted(self, drifts: Mapping[str, tuple[float | None, float | None, float]]) -> list[tuple[str, str, str]]:
        alpha = self._alpha / max(1, len(self._settings.groups))
        return [
            ("group", name, f"shares of {name} have drifted from the batches before: PSI {psi:.2f}, JS {js:.3f}")
            for name, (psi, js, chance) in drifts.items()
            if psi is not None and psi > PSI and chance < alpha
        ]

    def _mislabelled(self, batch: _Batch) -> list[tuple[str, str, str]]:
        wanted = {label.casefold(): share for label, share in self._settings.labels.items()}
        n = sum(batch.labels[label] for label in wanted)
        limit = max(LEAST_ERRORS, NormalDist().inv_cdf(1 - self._alpha / (2 * max(1, len(wanted)))))
        out = []
        for label, share in wanted.items():
            error = math.sqrt(share * (1 - share) / n) if n else math.inf
            off = (batch.labels[label] / n - share) / error if n else 0.0
            if abs(off) > limit:
                told = f"{batch.labels[label] / n:.0%} of {n} are {label}, {share:.0%} wanted: {off:+.1f} s.e."
                out.append(("label", label, told))
        return out

    @property
    def _alpha(self) -> float:
        """What this batch may spend on each kind of alarm: over all batches, it adds up to 1 %."""
        return _ALPHA * 6 / (math.pi * self._number) ** 2

    def figures(self) -> dict[str, Any]:
        """The last 50 batches and the first 200 alarms."""
        return {
            "batch": self._settings.batch, "batches": self._number, "sounded": self.sounded,
            "alarms": [
                {"batch": one.batch, "kind": one.kind, "what": one.what, "told": one.told} for one in self.alarms
            ],
            "last": list(self._told),
        }  # fmt: skip


def _rarefied(grams: Counter[tuple[str, str]], size: int) -> float:
    """The share of different ones to be expected among so many drawn from them (Hurlbert, 1971; with replacement)."""
    n = grams.total()
    return sum(1 - (1 - count / n) ** size for count in grams.values()) / size


def _drift(before: Counter[str], now: Counter[str]) -> tuple[float | None, float | None, float]:
    """PSI and Jensen-Shannon divergence (in bits) of shares now and before, and the chance of as much by chance.

    Values too rare to be expected five times are put together; None where nothing can be compared.
    """
    n, m = now.total(), before.total()
    if n < _LEAST_DRAFTS or m < _LEAST_DRAFTS:
        return None, None, 1.0
    common = [value for value, count in before.items() if value != OTHERS and count * n / m >= _LEAST_EXPECTED]
    old = [before[value] for value in common]
    new = [now[value] for value in common]
    if m - sum(old) or n - sum(new):
        old, new = [*old, m - sum(old)], [*new, n - sum(new)]
    if len(old) < 2:
        return None, None, 1.0
    from scipy.stats import chi2_contingency

    # Half a count is added to each, so that a value that is gone has a logarithm.
    p = [(count + 0.5) / (n + 0.5 * len(new)) for count in new]
    q = [(count + 0.5) / (m + 0.5 * len(old)) for count in old]
    psi = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    js = sum(a * math.log2(a / c) + b * math.log2(b / c) for a, b, c in zip(p, q, middle, strict=True)) / 2
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if a + b]
    return psi, js, float(chi2_contingency(list(zip(*pairs, strict=True))).pvalue)


def _failing(models: Mapping[str, list[int]], alpha: float) -> list[tuple[str, str, str]]:
    """Models of which less than half as much is accepted as of the one in the middle, and clearly so."""
    tried = {name: (good, n) for name, (n, good) in models.items() if n >= _LEAST_DRAFTS}
    if len(tried) < 2:
        return []
    usual = median(good / n for good, n in tried.values())
    return [
        ("model", name, f"{good} of {n} drafts of {name} were accepted, of the median model {usual:.0%}")
        for name, (good, n) in sorted(tried.items())
        if good / n < HALF * usual and wilson(good, n, 1 - alpha / len(tried))[1] < usual
    ]


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {value: count / counts.total() for value, count in counts.most_common(_LISTED)}


def _enter(before: Counter[str], counts: Counter[str]) -> None:
    for value, count in counts.items():
        known = value in before or len(before) < _MOST_VALUES
        before[value if known else OTHERS] += count
