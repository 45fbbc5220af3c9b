"""An even sample of what streams by, the same in whatever order it comes."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")
SAMPLE = 2000
"""Measures that compare examples with one another look at this many of them."""


class Even(Generic[T]):
    """Keeps the items whose keys are the smallest: where keys are hashes, an even sample.

    Two items may have one key; each counts.
    """

    def __init__(self, most: int = SAMPLE) -> None:
        self._most = most
        # Largest key first: the one that leaves the sample when a smaller one comes.
        self._heap: list[tuple[int, int, T]] = []
        self.seen = 0

    def add(self, key: int, item: T) -> None:
        """Show it an item."""
        entry = (-key, self.seen, item)
        self.seen += 1
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def items(self) -> list[T]:
        """As they came if all are here, and else in an order that does not depend on how they came."""
        if self.seen <= self._most:
            return [item for _, _, item in sorted(self._heap, key=lambda entry: entry[1])]
        return [item for _, _, item in sorted(self._heap, key=lambda entry: entry[0])]


class Fewest(Generic[T]):
    """Keeps what belongs to the smallest keys, of keys that come again and again.

    Nothing is lost of a key that stays to the end: one that has left is larger than all that are there, and they only
    become smaller. So counts that are kept here are exact, and which keys are kept does not depend on the order.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, str]] = []
        self.kept: dict[str, T] = {}
        self.dropped = False

    def admits(self, key: str, number: int) -> bool:
        """Whether a key, which is not kept yet, has a place; `number` is its hash. Then enter it in `kept`."""
        if len(self.kept) < self._most:
            heapq.heappush(self._heap, (-number, key))
            return True
        self.dropped = True
        if (-number, key) <= self._heap[0]:
            return False
        _, largest = heapq.heapreplace(self._heap, (-number, key))
        del self.kept[largest]
        return True
