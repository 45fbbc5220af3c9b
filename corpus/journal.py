"""The journal of SM calls: trace, cache and resume log in one.

A call is durable in the ledger before its reply is used, under a key that hashes everything that determines
the reply. Asking for a key that is journaled returns the old call and costs nothing; asking for one that is
under way waits for it. Calls that finish together are written in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from understudy.corpus import rows
from understudy.corpus.ledger import Ledger
from understudy.nouns import Call

T = TypeVar("T")


class Journal:
    """Access to the calls of one run, from one event loop."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger = ledger
        self._folder = folder
        # SQLite and fsync block; one thread keeps them off the event loop and in order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._under_way: dict[str, asyncio.Future[Call]] = {}
        self._queue: list[tuple[Call, asyncio.Future[None]]] = []
        self._writing = False

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Do blocking work on the ledger's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    async def find(self, key: str) -> Call | None:
        """The journaled call under `key`, or None."""
        call, shard = await self.run(self._ledger.call, key)
        if call is None and shard is not None:
            call = await self.run(rows.read_call, self._folder, shard, key)
        return call

    async def call(self, key: str, make: Callable[[], Awaitable[Call]]) -> Call:
        """The call under `key`: journaled, under way, or made now and journaled before it is returned.

        An engine error is not journaled: it says nothing of the seed, and the next try may succeed.
        """
        if key in self._under_way:
            return await asyncio.shield(self._under_way[key])
        future: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._under_way[key] = future
        try:
            call = await self.find(key)
            if call is None:
                call = await make()
                await self._record(call)
            future.set_result(call)
            return call
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # marks it as seen: there may be nobody else waiting
            raise
        finally:
            del self._under_way[key]

    async def _record(self, call: Call) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((call, done))
        if not self._writing:
            self._writing = True
            try:
                while self._queue:
                    await self._flush()
            finally:
                self._writing = False
        await done

    async def _flush(self) -> None:
        batch, self._queue = self._queue, []
        try:
            await asyncio.shield(self.run(self._ledger.add_calls, [call for call, _ in batch]))
        except BaseException as error:
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
                    done.exception()
            raise
        for _, done in batch:
            if not done.done():
                done.set_result(None)

    def close(self) -> None:
        """Let the ledger's thread finish and end."""
        self._thread.shutdown(wait=True)
