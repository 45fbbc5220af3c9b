"""An order for training in which neighbours differ.

What one document says in one manner, twice in a row, teaches the manner: a seeded shuffle keeps such rows apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from random import Random
from typing import Any


def arranged(keys: Sequence[Hashable], seed: int) -> list[int]:
    """The places 0 to n-1 in a seeded order in which no two neighbours have the same key, as far as that can be.

    It can be whenever no key is more than half of all, rounded up; else as few neighbours as possible are alike.
    """
    places = list(range(len(keys)))
    Random(seed).shuffle(places)  # noqa: S311
    out: list[int] = []
    waiting: list[int] = []  # all of one key: that of the last place in `out`
    for place in places:
        if out and keys[place] == keys[out[-1]]:
            waiting.append(place)
            continue
        out.append(place)
        if waiting and keys[waiting[-1]] != keys[place]:
            out.append(waiting.pop())
    return _between(keys, out, waiting)


def likeness(row: dict[str, Any]) -> tuple[str, str]:
    """What two rows should not have in common as neighbours: the document they are from, and who asked."""
    asked = next((step for step in row["path"] if step.startswith("instruct/")), "")
    return str(row["source"]).rpartition(":")[0] or str(row["source"]), asked


def _between(keys: Sequence[Hashable], out: list[int], waiting: list[int]) -> list[int]:
    """Put what is left, all of one key, between two of other keys."""
    if not waiting:
        return out
    key = keys[waiting[-1]]
    spread: list[int] = []
    for place in out:
        if waiting and keys[place] != key and (not spread or keys[spread[-1]] != key):
            spread.append(waiting.pop())
        spread.append(place)
    return spread + waiting
