"""Which calls of a draft had been made for an earlier one: the first in plan order is charged for them."""

from __future__ import annotations

from understudy.corpus import rows
from understudy.corpus.folder import RunFolder
from understudy.errors import RunFolderError
from understudy.nouns import Example

_NO_DRAFTS = ("traces/", "index/")


class Sharing:
    """Looks calls up among the drafts of a shard, or of those that were merged; the last ones are kept."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._shard: int | None = None
        self._first: dict[str, int] = {}

    def earlier(self, example: Example) -> frozenset[str]:
        """Keys of those calls of a committed draft that an earlier draft had asked for.

        Raises:
            RunFolderError: when a run that is under way merges the shard at this moment.
        """
        turn, shard = self._folder.ledger.place(example.id)
        try:
            if shard != self._shard:
                self._first, self._shard = self._turns(shard), shard
            return frozenset(key for key in example.calls if self._first[key] < turn or self._before(shard, key))
        except KeyError as error:
            raise RunFolderError(
                f"shard {shard} has just been merged", where=str(self._folder.path), remedy="try again"
            ) from error

    def _before(self, shard: int, key: str) -> bool:
        """Whether a call lies with an earlier shard's."""
        into = self._folder.ledger.rolled_into(key)
        return into is not None and into < shard

    def _turns(self, shard: int) -> dict[str, int]:
        """The first turn of a shard's drafts that asked for each of their calls."""
        turns = self._folder.ledger.turns_of(shard)
        files = [file for file in self._folder.ledger.files_of(shard) if not file.name.startswith(_NO_DRAFTS)]
        found: dict[str, int] = {}
        for row in rows.read(self._folder.path, files, ["id", "calls"]):
            for key in row["calls"]:
                found[key] = min(found.get(key, turns[row["id"]]), turns[row["id"]])
        return found
