"""Who speaks in a draft where several could: drawn by chance, or shared out by what each adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

from understudy.evals.allocation import Allocation
from understudy.nouns import Seed
from understudy.recipe import Recipe, Verify
from understudy.sms import Voice
from understudy.variety import Filter


@dataclass(frozen=True, slots=True)
class Arm:
    """A voice, and the limits that its drafts must keep to."""

    of: str
    """For whom it speaks, as under `voices`."""
    voice: Voice
    filter: Filter | None = None

    def limits(self, limits: Verify) -> Verify:
        """The recipe's limits, or this arm's in their place."""
        own = {} if self.filter is None else self.filter.model_dump(exclude_none=True)
        return limits.model_copy(update=own)


class Arms:
    """The arms of a recipe's section `allocate`, and whose turn it is."""

    def __init__(self, recipe: Recipe) -> None:
        how = recipe.allocate
        assert how is not None  # whoever asks has looked  # noqa: S101
        ways = product(recipe.voices[how.of], how.filters or (None,))
        self.arms = tuple(Arm(how.of, voice, filter) for voice, filter in ways)
        self._answers = how.of.partition("/")[0] == "answer"
        """Who answers is credited with the answers alone."""
        self.allocation = Allocation(len(self.arms), how.block, how.least)

    def ready(self, turn: int) -> bool:
        """Whether the blocks that decide about a turn are settled."""
        return self.allocation.ready(turn)

    def of(self, turn: int) -> Arm:
        """Whose turn it is."""
        return self.arms[self.allocation.arm(turn)]

    def settle(self, row: Mapping[str, Any], seed: Seed) -> None:
        """Take in the next draft in plan order, as its row tells it."""
        said = row["messages"] or () if row["status"] == "accepted" else ()
        texts = [turn["content"] or "" for turn in said if turn["role"] == "assistant" or not self._answers]
        self.allocation.settle(texts, len(row["calls"]), seed.content)


def voice_of(recipe: Recipe, agent: str, seed_id: str, draw: int, arm: Arm | None = None) -> Voice:
    """Who speaks for an agent in one draft: the same whatever else runs beside it."""
    if arm is not None and arm.of == (agent if agent in recipe.voices else agent.partition("/")[0]):
        return arm.voice
    voices = recipe.voices_of(agent)
    if len(voices) == 1:
        return voices[0]
    return Random(f"{recipe.seed}:{seed_id}:{draw}:voice:{agent}").choice(voices)  # noqa: S311
