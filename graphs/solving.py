"""The round trip: what was drawn first is found again by somebody who has not seen it, or the draft is rejected.

Who says which label a text has sees the text, the task and the labels alone; who answers a question, seed and question.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from langgraph.runtime import Runtime

from understudy.agents import Agent, Spoken
from understudy.evals import records, spans
from understudy.graphs.nodes import Update, ask, counted, rejected, together
from understudy.graphs.state import Context, State
from understudy.labels import Labels
from understudy.nouns import Verdict


@counted
async def round_trip(state: State, runtime: Runtime[Context]) -> Update:
    """Have the label or answer said by somebody who has not seen it; enough votes must be for what was drawn."""
    context = runtime.context
    trip, solvers = context.recipe.round_trip, context.catalog.solvers
    assert trip is not None  # checked before the run  # noqa: S101
    solving = _Label(context.recipe.labels) if context.recipe.labels else _Answer(state["answer"], state["label"])
    voters = [solvers[place % len(solvers)] for place in range(trip.votes)]
    ways = (solving.vote(state, runtime, agent, place) for place, agent in enumerate(voters))
    said, calls, unread = await together(ways)
    votes = Counter(map(solving.read, said))
    told = ", ".join(f"{value} {count}" for value, count in votes.most_common())
    told += f", not understood {unread}" if unread else ""
    right = votes[state["answer"]]
    verdict = Verdict(f"round-trip/{solving.of}", right >= trip.agree, round(right / trip.votes, 4), told)
    found = (*state["checked"], verdict)
    update: Update = {"path": tuple(dict.fromkeys(agent.name for agent in voters)), "calls": calls, "checked": found}
    return update | (rejected(found) if not verdict.passed else {})


@dataclass(frozen=True, slots=True)
class _Label:
    """Says which label a text has."""

    labels: Labels
    of = "label"

    async def vote(self, state: State, runtime: Runtime[Context], agent: Agent, place: int) -> Spoken:
        """One vote; each sees the labels in an order of its own, since small SMs prefer the first or the last."""
        meanings = list(self.labels.meanings().items())
        turn = (runtime.context.rng(state, "votes").randrange(len(meanings)) + place) % len(meanings)
        values = dict(meanings[turn:] + meanings[:turn])
        named = "|".join(records.literal(value) for value in values)
        return await ask(
            _alone(state, state["text"]), runtime, agent, variant=place, task=self.labels.task, values=values,
            form=f"(?:{named})", check=rf"(?i:{named})\.?",
        )  # fmt: skip

    def read(self, said: str) -> str:
        """The label that a reply names."""
        known = {value.casefold(): value for value in self.labels.values}
        return known.get(said.casefold()) or known[said.removesuffix(".").casefold()]


@dataclass(frozen=True, slots=True)
class _Answer:
    """Answers a question from the seed."""

    answer: str
    kind: str
    of = "answer"

    async def vote(self, state: State, runtime: Runtime[Context], agent: Agent, place: int) -> Spoken:
        """One vote."""
        alone = _alone(state, state["seed"].content)
        return await ask(alone, runtime, agent, variant=place, instruction=state["instruction"])

    def read(self, said: str) -> str:
        """The answer, where it is the same; else what was said."""
        return self.answer if spans.same(said, self.answer, self.kind) else said


def _alone(state: State, content: str) -> State:
    """What a solver may know of a draft."""
    known: Any = {"seed": replace(state["seed"], content=content), "passage": None, "persona": None}
    return {**state, **known}
