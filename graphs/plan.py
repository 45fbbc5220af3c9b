"""The plan: which leaf each draft asks, so that all are reached soon and quotas hold at any time.

The agents that a kind of seed can feed stand in a rotation, in an order that the run's seed shuffles. Seeds that were
read one after another begin at places that follow one another; a seed that comes again goes on where the largest gap
is left, and meets every leaf before it meets one twice. Nothing depends on how drafts end, so nothing depends on
scheduling, and seeds that are added at the end change nothing for those before them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from understudy.agents import Agent, Catalog
from understudy.graphs.state import State
from understudy.nouns import Kind, Seed
from understudy.recipe import Recipe

# Multiples of it fall into the largest gap that those before them left, wherever one stops.
_GOLDEN = (math.sqrt(5) - 1) / 2
# Where quotas are very small, some of their agents come up in no rotation.
_MOST_PLACES = 10_000
_NOTHING = 1e-9


class Plan:
    """Says who asks in a draft, by the run's agents, its seed and its quotas."""

    def __init__(self, catalog: Catalog, recipe: Recipe) -> None:
        self._catalog = catalog
        self._recipe = recipe
        self._rotations: dict[Kind, tuple[Agent, ...]] = {}

    def begin(self, seed: Seed, draw: int, turn: int) -> State:
        """The state that a draft starts from."""
        state: State = {"seed": seed, "draw": draw, "turn": turn}
        if "rank" not in seed.meta:  # a run that was begun before there was a plan
            return {**state, "asked_by": self._drawn(seed, draw)}
        asked_by = self._next(seed, draw)
        step = f"plan/{asked_by.prompt.skill or 'any'}/{asked_by.prompt.name}"
        return {**state, "asked_by": asked_by, "path": (step,)}

    def _next(self, seed: Seed, draw: int) -> Agent:
        agents = self.rotation(seed.kind)
        first = int(seed.meta["rank"]) + draw * _step(len(agents))
        for place in range(len(agents)):
            if (agent := agents[(first + place) % len(agents)]).takes(seed):
                return agent
        return agents[first % len(agents)]

    def rotation(self, kind: Kind) -> tuple[Agent, ...]:
        """The agents that ask about seeds of a kind, each as often as its quota wants, as evenly as can be."""
        if kind not in self._rotations:
            agents = list(self._catalog.of("instruct", kind))
            Random(f"{self._recipe.seed}:{kind}:plan").shuffle(agents)  # noqa: S311
            self._rotations[kind] = rotation(agents, self._recipe.agents.quotas)
        return self._rotations[kind]

    def _drawn(self, seed: Seed, draw: int) -> Agent:
        able = self._catalog.of("instruct", seed.kind)
        skills = sorted({agent.prompt.skill or "" for agent in able})
        skill = skills[0] if len(skills) == 1 else self._rng(seed, draw, "skill").choice(skills)
        return self._rng(seed, draw, "instruct").choice([one for one in able if (one.prompt.skill or "") == skill])

    def _rng(self, seed: Seed, draw: int, stage: str) -> Random:
        return Random(f"{self._recipe.seed}:{seed.id}:{draw}:{stage}")  # noqa: S311


def _step(count: int) -> int:
    """How far apart a seed's draws stand: prime to the count, so that all places come up."""
    near = round(count * _GOLDEN)
    return next(step for step in range(max(1, near), near + count + 1) if math.gcd(step, count) == 1)


def rotation(agents: Sequence[Agent], quotas: Mapping[str, float]) -> tuple[Agent, ...]:
    """Agents in turn, each with its share of the places; a quota is that of a skill or of one agent.

    What quotas leave is shared out evenly among the agents that none of them names.
    """
    groups: dict[str | None, list[Agent]] = {}
    for agent in agents:
        key = next((key for key in (agent.prompt.name, agent.prompt.skill) if key in quotas), None)
        groups.setdefault(key, []).append(agent)
    shares: dict[str | None, float] = {key: quotas[key] for key in groups if key is not None}
    left = 1 - sum(shares.values())
    if None in groups and left > _NOTHING:
        shares[None] = left
    whole = sum(shares.values())
    places = max(math.ceil(len(groups[key]) * whole / share - _NOTHING) for key, share in shares.items())
    counts = dict.fromkeys(shares, 0)
    out = []
    for place in range(min(places, _MOST_PLACES)):
        # The group that is furthest behind, and in it the agent whose turn it is.
        key = max(shares, key=lambda key: round(shares[key] / whole * (place + 1) - counts[key], 9))
        out.append(groups[key][counts[key] % len(groups[key])])
        counts[key] += 1
    return tuple(out)
