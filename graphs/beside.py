"""What stands beside a seed in the file it was read from, for the noiser that takes the surroundings up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

from understudy.corpus.scratch import Database
from understudy.corpus.seeds import SeedFiles
from understudy.noise import Window
from understudy.nouns import Seed

_TABLES = "CREATE TABLE places(kind, rank, position, PRIMARY KEY(kind, rank)) WITHOUT ROWID"
_FIND = "SELECT rank, position FROM places WHERE kind = ? AND rank BETWEEN ? AND ? ORDER BY rank"


class Beside:
    """Finds the seeds that were read just before and after a seed.

    Args:
        seeds: in plan order; nobody else uses them.
        window: how many on either side, and how many characters of them together.
    """

    def __init__(self, seeds: SeedFiles, window: Window) -> None:
        self._seeds = seeds
        self._window = window
        self._places: Database | None = None
        self._lock = threading.Lock()

    async def of(self, seed: Seed) -> str:
        """The neighbours' text in the order of the file; empty where a seed stands alone."""
        if "rank" not in seed.meta or not self._window.neighbours or not self._window.characters:
            return ""
        return await asyncio.to_thread(self._of, seed)

    def _of(self, seed: Seed) -> str:
        with self._lock:
            if self._places is None:
                self._places = Database(_TABLES)
                self._places.write("INSERT OR IGNORE INTO places VALUES (?, ?, ?)", self._ranked())
            rank, reach = int(seed.meta["rank"]), self._window.neighbours
            found = list(self._places.read(_FIND, (seed.kind, rank - reach, rank + reach)))
            there = [(place - rank, self._seeds[position][0]) for place, position in found if place != rank]
        home = _file(seed)
        near = [(distance, one.content.strip()) for distance, one in there if _file(one) == home]
        left, shown = self._window.characters, []
        for distance, text in sorted(near, key=lambda item: (abs(item[0]), item[0])):
            if left <= 0:
                break
            # Of a text before the seed its end is nearest, of one after it its beginning.
            part = text[-left:] if distance < 0 else text[:left]
            shown.append((distance, part))
            left -= len(part)
        return "\n\n".join(part for _, part in sorted(shown))

    def _ranked(self) -> Iterator[tuple[str, int, int]]:
        for position in range(len(self._seeds)):
            seed, _ = self._seeds[position]
            if "rank" in seed.meta:
                yield seed.kind, int(seed.meta["rank"]), position


def _file(seed: Seed) -> str:
    return seed.source.rpartition(":")[0] or seed.source
