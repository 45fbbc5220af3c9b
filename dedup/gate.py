"""The gate inside the graph: drafts pass in plan order, so the earliest of a pair of twins stays.

Drafts reach the gate in any order; each waits until every earlier one has passed or dropped out. Since
drafts start in plan order, the earliest one under way never waits, and the result is that of a run with one
draft at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from understudy.dedup.pair import Match, PairIndex


class Gate:
    """Admits instructions turn by turn."""

    def __init__(self, index: PairIndex, first_turn: int, ready: Awaitable[None] | None = None) -> None:
        """`ready` is waited for before the first is admitted: the index is then filled."""
        self._index = index
        self._ready = ready
        self._next = first_turn
        self._passed: set[int] = set()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._rows: dict[int, dict[str, Any]] = {}

    async def admit(self, turn: int, text: str) -> Match | None:
        """Wait for this turn, then say which earlier text is near this one, if any.

        An earlier text of this sitting is named by `draft_key`.
        """
        if turn != self._next:
            self._waiting[turn] = asyncio.get_running_loop().create_future()
            await self._waiting[turn]
        if self._ready is not None:
            await self._ready
            self._ready = None
        # Embedding takes milliseconds of CPU; off the loop, so that replies keep flowing.
        match, row = await asyncio.to_thread(self._index.offer, draft_key(turn), text)
        if match is None:
            self._rows[turn] = row
        self.leave(turn)
        return match

    def leave(self, turn: int) -> None:
        """A draft has passed, or ended before it came here; safe to say twice."""
        if turn < self._next:
            return
        self._passed.add(turn)
        while self._next in self._passed:
            self._passed.discard(self._next)
            self._next += 1
        waiting = self._waiting.pop(self._next, None)
        if waiting and not waiting.done():
            waiting.set_result(None)

    def take_row(self, turn: int) -> dict[str, Any] | None:
        """What this turn added to the index, to be committed with its draft."""
        return self._rows.pop(turn, None)


def draft_key(turn: int) -> str:
    """The name of a draft in the index: what its example will be called is not known before it is finished."""
    return f"#{turn}"


def turn_of(key: str) -> int | None:
    """The turn of a draft by its name in the index; None for the id of an example, which has no `#`."""
    number = key.removeprefix("#")
    return int(number) if number != key and number.isdecimal() else None
