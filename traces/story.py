"""One example's way through the graph, put together from the corpus and the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.corpus import RunFolder
from understudy.corpus.ledger import STATUSES
from understudy.corpus.rows import example as example_of
from understudy.corpus.sharing import Sharing
from understudy.nouns import Call, Example, Seed


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the way, and whether it was a second try at the one before."""

    call: Call
    again: bool
    shared: bool = False
    """Made already, for an earlier draft or earlier in this one, and charged for there."""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is known of one example."""

    seed: Seed
    example: Example
    steps: tuple[Step, ...]
    tokens: int
    """SM tokens it was charged; a call shared with an earlier example is charged there."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def story(corpus: Path, prefix: str) -> Story:
    """The story of the example whose id starts with `prefix`.

    Raises:
        RunFolderError: when the folder is no corpus, or the id is unknown or ambiguous.
    """
    with RunFolder.read(corpus) as folder:
        example, row = folder.find(prefix)
        return _told(folder, Sharing(folder), example, int(row["sm_tokens"]))


def stories(folder: RunFolder, status: str | None = None) -> Iterator[Story]:
    """The stories of all examples, or of those of one status; one at a time is in memory."""
    sharing = Sharing(folder)
    for one in (status,) if status else STATUSES:
        for row in folder.rows(one):
            yield _told(folder, sharing, example_of(row), int(row["sm_tokens"]))


def _told(folder: RunFolder, sharing: Sharing, example: Example, tokens: int) -> Story:
    calls = [call for key in example.calls if (call := folder.call(key))]
    taken = set(sharing.earlier(example)) if tokens < sum(map(_paid, calls)) else set()
    steps: list[Step] = []
    for call in calls:
        again = bool(steps) and call.agent == steps[-1].call.agent and len(call.messages) > 2
        steps.append(Step(call, again, call.key in taken))
        taken.add(call.key)
    return Story(folder.seed_of(example), example, tuple(steps), tokens)


def _paid(call: Call) -> int:
    return 0 if call.reused else call.usage["prompt"] + call.usage["completion"]
