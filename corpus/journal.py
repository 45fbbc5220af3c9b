"""The journal of SM calls: trace, cache and resume log in one.

A call is durable in the ledger before its reply is used, under a key that hashes everything that determines
the reply. Asking for a key that is journaled returns the old call and costs nothing; asking for one that is
under way waits for it. Calls that finish together are written in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from understudy.corpus import rows
from understudy.corpus.folder import RunFolder
from understudy.corpus.ledger import Ledger
from understudy.nouns import Call

T = TypeVar("T")


class Journal:
    """Access to the calls of one run, from one event loop."""

    def __init__(self, ledger: Ledger, folder: Path, earlier: Sequence[RunFolder] = ()) -> None:
        """`earlier` are corpora whose calls are taken over where the same ones are asked for."""
        self._ledger = ledger
        self._segments = rows.Segments(folder)
        self._earlier = earlier
        # SQLite and fsync block; one thread keeps them off the event loop and in order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._under_way: dict[str, asyncio.Task[Call]] = {}
        self._queue: list[tuple[Call, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Do blocking work on the ledger's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    async def find(self, key: str) -> Call | None:
        """The journaled call under `key`, or None."""
        call, segment = self._ledger.call(key)  # some ten microseconds, where a change of thread takes a hundred
        if call is None and segment is not None:
            call = await self.run(self._segments.find, segment, key)
        return call

    async def call(self, key: str, make: Callable[[], Awaitable[Call]]) -> Call:
        """The call under `key`: journaled, under way, in an earlier corpus, or made now; journaled in any case.

        An engine error is not journaled: it says nothing of the seed, and the next try may succeed.
        """
        task = self._under_way.get(key)
        if task is None:
            # A task of its own: who asked first may be cancelled while others wait for the same call.
            task = asyncio.create_task(self._find_or_make(key, make))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    async def _find_or_make(self, key: str, make: Callable[[], Awaitable[Call]]) -> Call:
        call = await self.find(key)
        if call is None:
            call = await self._taken_over(key) or await make()
            await self._record(call)
        return call

    async def _taken_over(self, key: str) -> Call | None:
        for folder in self._earlier:
            if (call := await self.run(folder.call, key)) is not None:
                return replace(call, reused=True)
        return None

    def _forget(self, key: str, task: asyncio.Task[Call]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # marks it as seen: whoever asked may be gone

    async def _record(self, call: Call) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((call, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        """Write what has queued up, a transaction at a time, until nothing is left."""
        while self._queue:
            batch, self._queue = self._queue, []
            error: Exception | None = None
            try:
                await self.run(self._ledger.add_calls, [call for call, _ in batch])
            except Exception as caught:  # it belongs to those whose calls were not written
                error = caught
            for _, done in batch:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)

    async def aclose(self) -> None:
        """End the calls that nobody waits for any more, and the ledger's thread."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *([self._writer] if self._writer else []), return_exceptions=True)
        self._thread.shutdown(wait=True)
