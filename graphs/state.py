"""What flows through the graph for one draft, and what its nodes may use."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, TypedDict

from understudy.agents import Agent, Catalog
from understudy.columns import Record
from understudy.dedup import Gate
from understudy.evals.tools import Function, Task
from understudy.graphs.arms import Arm, voice_of
from understudy.graphs.table import Table
from understudy.models.caller import Caller
from understudy.nouns import Example, Persona, Seed, Status, Verdict, Version
from understudy.personas.matching import Matching
from understudy.recipe import Recipe, Verify
from understudy.sms import Voice


@dataclass(frozen=True, slots=True)
class Draft:
    """An instruction with its answer, and how good the rules find it."""

    instruction: str
    answer: str
    quality: float
    passage: str | None = None
    recast: bool = False
    """Whether the passage stands in the seed's place, since it was rewritten to say something else."""
    answerable: bool = True

    def version(self, by: str, round: int, outcome: str) -> Version:
        """As it goes on record."""
        score = float(f"{self.quality:.6f}")
        return Version(by, round, self.instruction, self.answer, outcome, self.passage, self.answerable, score)

    def as_state(self) -> dict[str, Any]:
        """What the state says of an edit, back to this draft."""
        return {
            "instruction": self.instruction, "answer": self.answer, "passage": self.passage, "recast": self.recast,
            "answerable": self.answerable,
        }  # fmt: skip


class State(TypedDict, total=False):
    """One draft on its way from seed to example; nodes return only what they change."""

    seed: Seed
    draw: int
    """Which draw of its seed this is."""
    turn: int
    """Its place in the plan."""
    arm: Arm
    """Whose turn it is, where the recipe allocates."""
    persona: Persona | None
    passage: str | None
    """The seed recast; None when it is used as it is."""
    asked_by: Agent
    """The instruct agent, which knows whether the seed must be attached."""
    instruction: str
    """The instruction being worked on: the first one, or an edit that is not adopted yet."""
    answer: str
    draft: Draft
    """The best so far."""
    versions: Annotated[tuple[Version, ...], operator.add]
    exchanges: tuple[tuple[str, str], ...]
    """Of a conversation, what was said and answered before the draft."""
    record: dict[str, str]
    """What was written before the text that it is to stand in, in the order in which it is to stand there."""
    label: str
    """The label that a text is to have, drawn before it."""
    text: str
    """The text that was written for it."""
    row: Record
    """The row of a table that is being written."""
    tools: tuple[Function, ...]
    """The tools that are there, in the standard form."""
    needed: tuple[str, ...]
    """The names of those that the request is to need."""
    task: Task
    """The request about tools."""
    dialogue: tuple[dict[str, Any], ...]
    """The messages of a dialogue with tools, up to the last answer."""
    checked: tuple[Verdict, ...]
    """What was checked on the way."""
    answerable: bool
    """Whether the material is meant to answer the instruction."""
    recast: bool
    suggestion: str
    editor: Agent
    ready: bool
    """Whether the round has something to go on with."""
    round: int
    """How often the graph's loop has been gone through."""
    improved: bool
    """Whether there is to be another round."""
    path: Annotated[tuple[str, ...], operator.add]
    calls: Annotated[tuple[str, ...], operator.add]
    parents: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    status: Status
    """Set as soon as the draft's fate is known; the graph then goes to `commit`."""
    reason: str | None
    example: Example


def told(exchanges: tuple[tuple[str, str], ...]) -> str:
    """A conversation as text."""
    return "\n".join(f"User: {asked}\nAssistant: {answer}" for asked, answer in exchanges)


async def _nothing_like(seed: Seed) -> tuple[Seed, ...]:
    return ()


async def _nothing_beside(seed: Seed) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Context:
    """What nodes need, handed to them by LangGraph's runtime."""

    recipe: Recipe
    catalog: Catalog
    personas: Matching | None
    caller: Caller
    gate: Gate
    compared: Callable[[State], str]
    """The text of a draft that deduplication compares."""
    settled: Callable[[int], Status | None] = lambda turn: None
    """What became of the draft of a turn in an earlier sitting; None: there was none."""

    like: Callable[[Seed], Awaitable[tuple[Seed, ...]]] = _nothing_like
    """Finds pieces of code like a piece of code."""
    table: Table | None = None
    """What rows are written by, in a recipe for rows."""

    beside: Callable[[Seed], Awaitable[str]] = _nothing_beside
    """Finds what stands beside a seed in its file."""
    likeness: Callable[[str, str], float] | None = None
    """How alike two wordings are in meaning, as a cosine; None: nobody asks."""

    def voice(self, state: State, agent: Agent) -> Voice:
        """Who speaks for an agent in this draft: of several voices, one is drawn, or has its turn."""
        return voice_of(self.recipe, agent.name, state["seed"].id, state["draw"], state.get("arm"))

    def limits(self, state: State) -> Verify:
        """The rules' limits; what is made of a person alone, or is free of its seed, is grounded in nothing."""
        arm = state.get("arm")
        limits = arm.limits(self.recipe.verify) if arm else self.recipe.verify
        free = state["seed"].kind == "persona" or not state["asked_by"].prompt.grounded
        return limits.model_copy(update={"min_grounding": None}) if free else limits

    def refiners(self, state: State) -> tuple[Agent, ...]:
        """Who may refine a draft: those for its skill and for any, while the material answers it."""
        asked_by = state["asked_by"].prompt
        if not state["draft"].answerable or asked_by.request or asked_by.situation or asked_by.turns > 1:
            return ()
        able = self.catalog.of("refine", state["seed"].kind, state["asked_by"].prompt.skill)
        if not state["asked_by"].prompt.attach:  # nobody would see the passage that was rewritten
            able = tuple(agent for agent in able if agent.prompt.edits != "passage")
        return able

    def judges(self, state: State) -> tuple[Agent, ...]:
        """Who must all agree before a draft is accepted; what is unanswerable has judges of its own."""
        kind, asked_by = state["seed"].kind, state["asked_by"].prompt
        if not state["draft"].answerable:
            return self.catalog.of("judge", kind, judged="answerable")
        free = kind == "persona" or not asked_by.grounded
        return tuple(
            judge
            for judge in self.catalog.of("judge", kind)
            if not (free and judge.prompt.grounded) and not (asked_by.attach and judge.prompt.without_seed)
        )

    def rng(self, state: State, stage: str) -> Random:
        """Randomness for one stage of one draft: the same whatever else runs beside it."""
        return Random(f"{self.recipe.seed}:{state['seed'].id}:{state['draw']}:{stage}")  # noqa: S311
