"""Sharing drafts out among arms by what each adds: new word pairs for each call, lately.

Acceptance alone would favour an SM that always says the same. What counts here is what an accepted draft has that no
earlier one had; as an arm's stock runs out its gain falls, and the others get its share. All is decided a block at a
time, from the blocks that are settled as a whole, so it hangs on the plan alone and not on which draft came first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from itertools import pairwise

from understudy.evals.rules import words

# One bit for each pair seen, by its checksum: at a million pairs 3 % of new ones are taken for old. 4 MiB.
_BITS = 1 << 25
# Shares go by the gains squared: by the gains themselves, arms that are nearly spent would still take a third.
_SHARPNESS = 2
_KEPT = 0.5
"""How much of what was known of an arm counts beside its latest block."""


class Seen:
    """Which word pairs there have been, in memory that does not grow."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, texts: Iterable[str], known: str = "") -> int:
        """Enter the word pairs of texts, but for those of `known`; returns how many are new."""
        own = set(_pairs(known))
        new = 0
        for pair in {pair for text in texts for pair in _pairs(text)} - own:
            place, bit = divmod(zlib.crc32(pair.encode("utf-8", "surrogatepass")) % _BITS, 8)
            if not self._bits[place] >> bit & 1:
                self._bits[place] |= 1 << bit
                new += 1
        return new


def _pairs(text: str) -> list[str]:
    return [f"{one} {two}" for one, two in pairwise(words(text))]


class Allocation:
    """Says which arm a turn is for.

    Args:
        arms: how many there are.
        block: turns that are shared out at once.
        least: share of a block that is spread evenly.
    """

    def __init__(self, arms: int, block: int, least: float) -> None:
        self._count = arms
        self._block = block
        self._least = least
        self._seen = Seen()
        self._gained = [0.0] * arms
        self._calls = [0.0] * arms
        self._here = [[0, 0] for _ in range(arms)]
        """Of the block that is being settled: new pairs and calls by arm."""
        self._owed = [0.0] * arms
        self._settled = 0
        # Nothing is known of the first two blocks when the second begins.
        self._plans = {number: self._plan() for number in range(2)}

    def ready(self, turn: int) -> bool:
        """Whether it is decided yet whose turn it is."""
        return turn // self._block in self._plans

    def arm(self, turn: int) -> int:
        """Whose turn it is; of turns that are `ready` and not settled for long."""
        block, place = divmod(turn, self._block)
        return self._plans[block][place]

    def settle(self, texts: Iterable[str], calls: int, known: str = "") -> None:
        """Take in the next turn's draft, in plan order.

        Args:
            texts: what was accepted; nothing of a draft that was not.
            calls: what it took.
            known: what its word pairs are not new in: its seed.
        """
        here = self._here[self.arm(self._settled)]
        here[0] += self._seen.add(texts, known)
        here[1] += calls
        self._settled += 1
        block, place = divmod(self._settled, self._block)
        if place == 0:
            self._learn()
            self._plans[block + 1] = self._plan()
            self._plans.pop(block - 2, None)

    @property
    def gains(self) -> list[float]:
        """New word pairs for each call, by arm, lately."""
        return [gained / calls if calls else 0.0 for gained, calls in zip(self._gained, self._calls, strict=True)]

    def _learn(self) -> None:
        for arm, (gained, calls) in enumerate(self._here):
            if calls:
                self._gained[arm] = _KEPT * self._gained[arm] + gained
                self._calls[arm] = _KEPT * self._calls[arm] + calls
            self._here[arm] = [0, 0]

    def _plan(self) -> tuple[int, ...]:
        """A block in which each arm has its share, as evenly spread as can be; what a block leaves owing is kept."""
        gains = [gain**_SHARPNESS for gain in self.gains]
        whole = sum(gains)
        even = 1 / self._count
        shares = [self._least * even + (1 - self._least) * (gain / whole if whole else even) for gain in gains]
        out = []
        for _ in range(self._block):
            self._owed = [owed + share for owed, share in zip(self._owed, shares, strict=True)]
            arm = max(range(self._count), key=lambda arm: round(self._owed[arm], 9))
            self._owed[arm] -= 1
            out.append(arm)
        return tuple(out)
