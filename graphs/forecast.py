"""What a run will take, said after a pilot of its first drafts.

Seeds come in random order, so the first drafts are a fair sample. How far it may mislead is found by the Bayesian
bootstrap (Rubin, The Annals of Statistics 9, 1981): the drafts are weighed anew some thousands of times, each time the
number of drafts until the goal is drawn for the acceptance rate under those weights, and the middle nine tenths of what
comes out are the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_DRAWS = 4000
_INTERVAL = (5, 50, 95)


@dataclass(frozen=True, slots=True)
class Range:
    """The middle of a forecast and the ends of its 90 % interval."""

    low: float
    middle: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether what came out lies within."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Forecast:
    """The whole run, what it has taken so far included."""

    accept: int
    pilot: int
    """Drafts that it rests on."""
    acceptance: Range
    drafts: Range
    tokens: Range
    seconds: Range
    money: Range
    within_plan: float
    """Chance that the drafts of the plan suffice for the goal, in 0..1."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Forecast:
        """What `as_dict` gave."""
        known: dict[str, Any] = {}
        for name, value in told.items():
            known[name] = Range(**value) if isinstance(value, dict) else value
        return cls(**known)


def forecast(
    pilot: Sequence[tuple[bool, int]],
    accept: int,
    turns: int,
    *,
    spent_tokens: int,
    spent_money: float,
    seconds: float,
    free: tuple[int, int] = (0, 0),
    seed: int = 0,
) -> Forecast:
    """Forecast a run from its first drafts.

    Args:
        pilot: of each settled draft, whether it was accepted and the SM tokens it took.
        accept: the goal.
        turns: drafts that the plan has.
        spent_tokens: what has been spent, on drafts under way as well.
        spent_money: the same in money.
        seconds: what the pilot took.
        free: drafts before the pilot that were all made of an earlier corpus's calls, and how many of them were
            accepted: what is to come is not taken to be like them.
        seed: of the draws.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    accepted = np.array([good for good, _ in pilot], dtype=float)
    tokens = np.array([cost for _, cost in pilot], dtype=float)
    # One more draft, half accepted: a pilot without any, or with nothing but, does not say never, or always.
    accepted, tokens = np.append(accepted, [1.0, 0.0]), np.append(tokens, [tokens.mean()] * 2)
    weights = rng.dirichlet([1.0] * len(pilot) + [0.5, 0.5], _DRAWS)
    rate = np.maximum(weights @ accepted, 1e-6)
    a_draft = weights @ tokens
    spread = np.sqrt(np.maximum(weights @ tokens**2 - a_draft**2, 0.0))
    done, good = len(pilot) + free[0], round(accepted[:-2].sum()) + free[1]
    left = max(0, accept - good)
    needed = done + (left + rng.negative_binomial(left, rate) if left else np.zeros(_DRAWS))
    drafts = np.minimum(needed, turns)
    more = drafts - done
    # At the end a few drafts are under way that are not needed any more.
    surplus = rng.uniform(0, 1, _DRAWS) * np.minimum(2 / rate, turns - drafts)
    further = (more + surplus) * a_draft + np.sqrt(more) * spread * rng.standard_normal(_DRAWS)
    further = np.maximum(further, 0.0)
    whole = spent_tokens + further
    each = spent_money / max(1, spent_tokens)

    def between(values: Any) -> Range:
        low, middle, high = (float(value) for value in np.percentile(values, _INTERVAL))
        return Range(low, middle, high)

    return Forecast(
        accept=accept,
        pilot=len(pilot),
        acceptance=between(rate),
        drafts=between(drafts),
        tokens=between(whole),
        seconds=between(seconds * (1 + more / len(pilot))),
        money=between(whole * each),
        within_plan=float(np.mean(needed <= turns)),
    )
