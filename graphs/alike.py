"""Code that is like other code, for agents that come by a library piece by piece."""

from __future__ import annotations

import asyncio
import threading

import numpy as np

from understudy.corpus.seeds import SeedFiles
from understudy.models.embedder import Hashing, Matrix
from understudy.nouns import Seed

MOST_SEEDS = 4096
"""So many pieces of code are looked through; the plan's first."""
_MORE = 3


class Alike:
    """Finds seeds like a seed, one after another, each the most like all those before it.

    Args:
        seeds: in plan order; nobody else uses them.
    """

    def __init__(self, seeds: SeedFiles) -> None:
        self._seeds = seeds
        self._code: list[Seed] = []
        self._vectors: Matrix | None = None
        self._lock = threading.Lock()

    async def of(self, seed: Seed) -> tuple[Seed, ...]:
        """At most three pieces of code like a piece of code."""
        return await asyncio.to_thread(self._of, seed)

    def _of(self, seed: Seed) -> tuple[Seed, ...]:
        with self._lock:
            if self._vectors is None:
                first = (self._seeds[place][0] for place in range(min(len(self._seeds), MOST_SEEDS)))
                self._code = [one for one in first if one.kind == "code"]
                self._vectors = Hashing().embed([one.content for one in self._code])
        wanted = Hashing().embed([seed.content])[0]
        taken = {place for place, one in enumerate(self._code) if one.id == seed.id}
        found: list[Seed] = []
        for _ in range(min(_MORE, len(self._code) - len(taken))):
            nearness = np.round(self._vectors @ wanted, 5)
            nearness[list(taken)] = -np.inf
            place = int(nearness.argmax())
            taken.add(place)
            found.append(self._code[place])
            wanted = wanted + self._vectors[place]
        return tuple(found)
