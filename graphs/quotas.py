"""Which label a draft is for, and when there are enough of one: decided by turn, so scheduling changes nothing.

Labels come up by their shares until one has all its examples; later turns go to the others. A turn must not hang on
drafts that may still be under way when it begins, so it knows of those well before it alone; what is written for a
label meanwhile that turns out to be full is surplus, and is rejected when it is settled.
Kinds of answers are labels too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random

from understudy.graphs.state import State
from understudy.nouns import address

STEP = "label/"
"""How a draft's path says for which label it is."""
FULL = "quota"
"""Why a surplus draft is rejected."""
# Turns in which each label has its share, to the nearest whole.
_ROUND = 20
# What a turn does not know of: its neighbours, or a part of all before it, whichever is more.
_UNKNOWN, _UNKNOWN_PART = 32, 8


class Quotas:
    """The labels of a run: which turn is for which, and how many are still wanted.

    Args:
        shares: of the labels.
        accept: how many examples the run is to end with.
        seed: of the run.
    """

    def __init__(self, shares: Mapping[str, float], accept: int, seed: int) -> None:
        self._values = tuple(shares)
        self._shares = tuple(shares.values())
        self._seed = seed
        self.missing = apportioned(shares, accept)
        """Of each label, how many accepted examples are still wanted."""
        self._settled = 0
        self._full_after: dict[str, int] = {}
        """Of labels that are full, the turns that were settled by then."""
        self._look()

    def ready(self, turn: int) -> bool:
        """Whether all that decides about a turn is settled."""
        return self._settled >= _known(turn)

    def label(self, turn: int) -> str:
        """For which label a turn is that is `ready`: its own by the shares, or another if there are enough of that."""
        known = _known(turn)
        full = {value for value, settled in self._full_after.items() if settled <= known}
        open_ones = [value for value in self._values if value not in full]
        own = self._own(turn)
        if own in open_ones or not open_ones:
            return own
        weights = [self._shares[self._values.index(value)] for value in open_ones]
        return Random(address(self._seed, "open label", turn)).choices(open_ones, weights)[0]  # noqa: S311

    def _own(self, turn: int) -> str:
        number, place = divmod(turn, _ROUND)
        rng = Random(address(self._seed, "label", number))  # noqa: S311
        start, edge, values = rng.random(), 0.0, []
        for value, share in zip(self._values, self._shares, strict=True):
            before, edge = edge, edge + share * _ROUND
            values += [value] * (_upto(edge, start) - _upto(before, start))
        rng.shuffle(values)
        return values[place] if place < len(values) else self._values[-1]

    def begin(self, state: State) -> State:
        """A draft's first state, with its label."""
        label = self.label(state["turn"])
        return {**state, "label": label, "path": (*state.get("path", ()), STEP + label)}

    def full(self, path: Sequence[str]) -> bool:
        """Whether there are enough examples of the label of the draft that is settled next."""
        label = label_of(path)
        return label is not None and not self.missing.get(label, 0)

    def settle(self, path: Sequence[str], status: str, counts: bool = True) -> None:
        """Take in the next draft in plan order; one that people rejected does not count."""
        self._settled += 1
        label = label_of(path)
        if status == "accepted" and counts and label in self.missing:
            self.missing[label] = max(0, self.missing[label] - 1)
            self._look()

    def _look(self) -> None:
        for value, left in self.missing.items():
            if not left:
                self._full_after.setdefault(value, self._settled)


def label_of(path: Collection[str]) -> str | None:
    """The label that a draft is for; None of a draft that is for none."""
    return next((step.removeprefix(STEP) for step in path if step.startswith(STEP)), None)


def apportioned(shares: Mapping[str, float], whole: int) -> dict[str, int]:
    """Whole numbers that add up to `whole`, by largest remainders; of equal ones, the first."""
    exact = {value: share * whole / sum(shares.values()) for value, share in shares.items()}
    found = {value: int(each + 1e-9) for value, each in exact.items()}
    by_rest = sorted(exact, key=lambda value: -round(exact[value] - found[value], 9))
    for value in by_rest[: whole - sum(found.values())]:
        found[value] += 1
    return found


def _known(turn: int) -> int:
    """How many turns from the first are settled for certain when a turn begins."""
    return max(0, turn - max(_UNKNOWN, turn // _UNKNOWN_PART))


def _upto(edge: float, start: float) -> int:
    """How many of the places `start`, `start` + 1, … lie below an edge."""
    return max(0, int(-(-(edge - start) // 1)))
