"""Settled drafts in plan order, as the allocation of turns and the monitor take them in."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.corpus import RunFolder
from understudy.corpus.seeds import SeedFiles
from understudy.evals.monitor import Alarm, Seen, Watched
from understudy.graphs.arms import Arm, Arms, voice_of
from understudy.graphs.quotas import Quotas
from understudy.nouns import ATTRIBUTES, Seed
from understudy.recipe import Recipe
from understudy.traces.costs import planned_skill

_STREAMS = (("accepted", "train"), ("accepted", "test"), ("rejected", None), ("duplicate", None), ("failed", None))
_READ = ["id", "status", "seed_id", "source", "draw", "path", "calls", "messages", "persona"]


class Watch:
    """What a run learns from its settled drafts: whose turn is next, and whether something is amiss."""

    def __init__(self, recipe: Recipe, folder: RunFolder) -> None:
        self._recipe = recipe
        self.arms = Arms(recipe) if recipe.allocate else None
        self.monitor = Watched(recipe.monitor) if recipe.monitor else None
        self.labels = Quotas(recipe.targets, recipe.accept, recipe.seed) if recipe.targets else None
        self._turn = 0
        if self.takes:
            self._take_in(folder, folder.other_seeds())

    def _take_in(self, folder: RunFolder, seeds: SeedFiles) -> None:
        """What earlier sittings settled."""
        refused = refused_by_people(folder)
        for turn, row in settled_rows(folder):
            self.settle(row, seeds[turn % len(seeds)][0], row["id"] not in refused)
        seeds.close()

    @property
    def takes(self) -> bool:
        """Whether anything is learned at all."""
        return self.arms is not None or self.monitor is not None or self.labels is not None

    def ready(self, turn: int) -> bool:
        """Whether all that decides about a turn is settled."""
        return (self.arms is None or self.arms.ready(turn)) and (self.labels is None or self.labels.ready(turn))

    def full(self, path: Sequence[str]) -> bool:
        """Whether what the next draft is to be there is enough of."""
        return self.labels is not None and self.labels.full(path)

    def settle(self, row: Mapping[str, Any], seed: Seed, counts: bool = True) -> list[Alarm]:
        """Take in the next draft, as its row tells it; returns the alarms that it sounds.

        One that does not count is to be made up for: people rejected it.
        """
        arm = self.arms.of(self._turn) if self.arms else None
        self._turn += 1
        if self.arms:
            self.arms.settle(row, seed)
        if self.labels:
            self.labels.settle(row["path"], row["status"], counts)
        return self.monitor.add(_seen(self._recipe, row, arm)) if self.monitor else []


def monitored(folder: RunFolder) -> dict[str, Any] | None:
    """What the monitor has to say of a whole corpus; None where its recipe has none."""
    if folder.recipe.monitor is None:
        return None
    monitor = Watch(folder.recipe, folder).monitor
    return monitor.figures() if monitor else None


def refused_by_people(folder: RunFolder) -> set[str]:
    """The ids of accepted examples that are to be made up for."""
    if not folder.recipe.review:
        return set()
    said = (review.example for review in folder.word().standing.values() if review.label == "reject")
    return {found[0] for id in said for found in folder.ledger.draft_ids(id) if found[1] == "accepted"}


def settled_rows(folder: RunFolder) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of all committed drafts with their turns, in plan order."""

    def stream(status: str, split: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
        for row in folder.rows(status, split, _READ):
            yield folder.ledger.turn(row["id"]), row

    yield from heapq.merge(*(stream(*one) for one in _STREAMS), key=lambda item: item[0])


def _seen(recipe: Recipe, row: Mapping[str, Any], arm: Arm | None) -> Seen:
    said = [turn["content"] or "" for turn in row["messages"] or ()]
    known = (row["persona"] or {}).get("attributes") or {}
    groups = {name: known.get(name) for name in ATTRIBUTES}
    groups |= {"source": row["source"].rpartition(":")[0] or row["source"], "skill": planned_skill(row)}
    agents = dict.fromkeys(step.partition(":")[0] for step in row["path"])
    models = []
    for agent in agents:
        able = {(one.sm, one.adapter) for one in recipe.voices_of(agent)}
        if len(able) > 1:
            voice = voice_of(recipe, agent, row["seed_id"], row["draw"], arm)
            models.append(f"{voice.sm}/{voice.adapter}" if voice.adapter else voice.sm)
    accepted = row["status"] == "accepted" and bool(said)
    asked, answered = (said[0], said[-1]) if said else ("", "")
    return Seen(accepted, asked, answered, groups, tuple(dict.fromkeys(models)))
