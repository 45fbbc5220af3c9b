"""Settled drafts on their way to the disk: gathered into shards, committed in order beside the work, then merged."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from understudy.corpus import Journal, RunFolder, merging
from understudy.dedup import turn_of
from understudy.nouns import Example, Seed

# A shard's drafts are replayed from the journal after a crash; this bounds that work and the memory it takes.
SHARD_DRAFTS = 64


@dataclass(slots=True)
class _Shard:
    examples: list[tuple[int, Example]] = field(default_factory=list)
    """With their turns."""
    origins: dict[str, tuple[Seed, str]] = field(default_factory=dict)
    """Their seeds with their splits, by id."""
    index: list[dict[str, Any]] = field(default_factory=list)
    """What they added to the indexes."""


class Shards:
    """Takes drafts in plan order.

    Args:
        folder: where they are committed.
        journal: whose thread the ledger is written on.
        thread: reads and writes the files that are merged.
        may_merge: whether nobody else is reading committed files of the index.
        committed: called after each commit.
        changed: called when a shard has been written, or with the error that it ended in.
    """

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        thread: Executor,
        may_merge: Callable[[], bool],
        committed: Callable[[], Awaitable[None]],
        changed: Callable[[BaseException | None], None],
    ) -> None:
        self.unwritten = 0
        """Shards that wait for the disk."""
        self._folder = folder
        self._journal = journal
        self._thread = thread
        self._may_merge = may_merge
        self._committed = committed
        self._changed = changed
        self._shard = _Shard()
        self._last: asyncio.Task[None] | None = None

    def add(self, turn: int, example: Example, seed: Seed, split: str, index: list[dict[str, Any]]) -> None:
        """Take a draft; a shard that is full is committed in the background."""
        self._shard.examples.append((turn, example))
        self._shard.origins[seed.id] = (seed, split)
        self._shard.index += index
        if len(self._shard.examples) >= SHARD_DRAFTS:
            self._begin()

    async def flush(self) -> None:
        """Commit what there is, and wait until it is written."""
        self._begin()
        if self._last is not None:
            await self._last

    def _begin(self) -> None:
        if self._shard.examples:
            shard, self._shard = self._shard, _Shard()
            self.unwritten += 1
            self._last = asyncio.create_task(self._commit(self._last, shard))
            self._last.add_done_callback(self._ended)

    async def _commit(self, before: asyncio.Task[None] | None, shard: _Shard) -> None:
        if before is not None:
            await before  # a shard that follows one that failed would leave a gap
        await self._journal.run(self._write, shard)
        await self._committed()
        if self._may_merge() and (due := await self._journal.run(merging.due, self._folder.ledger)) is not None:
            # These files do not change any more: calls are journaled while they are read.
            loop = asyncio.get_running_loop()
            files = await loop.run_in_executor(self._thread, self._folder.merged, due)
            await self._journal.run(self._folder.adopt, due, files)

    def _write(self, shard: _Shard) -> None:
        """Commit a shard whose duplicates name the examples that stay: at the gate those had no id yet."""
        ids = {turn: example.id for turn, example in shard.examples}

        def named(example: Example) -> Example:
            if example.status != "duplicate":
                return example
            *verdicts, twin = example.verdicts
            (stays,) = example.parents
            if (turn := turn_of(stays)) is not None:
                stays = ids.get(turn) or self._folder.ledger.draft_id(turn)
            twin = dataclasses.replace(twin, evidence=f"like {stays}")
            return dataclasses.replace(example, parents=(stays,), verdicts=(*verdicts, twin))

        examples = [(turn, named(example)) for turn, example in shard.examples]
        self._folder.commit(examples, shard.origins, shard.index)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.unwritten -= 1
        self._changed(None if task.cancelled() else task.exception())
