"""Going through the graph again with calls that are at hand, and no SM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.corpus import RunFolder
from understudy.corpus.cases import Case, pinned
from understudy.corpus.table_sample import resolved
from understudy.dedup import Gate, PairIndex
from understudy.errors import PromptError
from understudy.graphs.noising import Likeness, likeness
from understudy.graphs.state import Context, State
from understudy.graphs.work import Work, corpus
from understudy.models import SM, Capabilities, Reply, Request
from understudy.models.caller import Budget, Caller
from understudy.nouns import Call
from understudy.personas import PersonaSet
from understudy.personas.matching import Matching
from understudy.recipe import Recipe


class Missing(Exception):
    """A call that is not at hand."""

    agent = ""


class Absent(SM):
    """Has the name and the capabilities of an SM, and answers nothing."""

    engines: dict[str, dict[str, Any]]
    name: str

    @property
    def identity(self) -> str:
        """As it was."""
        return str(self.engines[self.name]["identity"])

    @property
    def capabilities(self) -> Capabilities:
        """As they were."""
        known = self.engines[self.name]
        return Capabilities(schema=known["schema"], regex=known["regex"])

    def adapted(self, adapter: str) -> Absent:
        """The same with an adapter, if that is known."""
        known = f"{self.name}/{adapter}"
        return Absent(engines=self.engines, name=known if known in self.engines else self.name)

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """Nothing.

        Raises:
            Missing: always.
        """
        raise Missing


class Naming(Caller):
    """Says whose call is missing."""

    async def call(self, agent: str, *args: Any, **named: Any) -> Call:
        """One call, if it is at hand.

        Raises:
            Missing: when it is not.
        """
        try:
            return await super().call(agent, *args, **named)
        except Missing as missing:
            missing.agent = agent
            raise


class AtHand:
    """Stands in for the journal: earlier corpora, or a few calls."""

    def __init__(self, earlier: Sequence[RunFolder] = (), calls: Iterable[Call] = ()) -> None:
        self._earlier = earlier
        self._calls = {call.key: call for call in calls}
        self.found = 0

    async def call(self, key: str, make: Callable[[], Awaitable[Call]]) -> Call:
        """The call under `key`."""
        call = self._calls.get(key) or next((call for folder in self._earlier if (call := folder.call(key))), None)
        if call is not None:
            self.found += 1
            return call
        return await make()


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a pinned example this time."""

    path: Path
    case: Case
    holds: bool
    """Whether it came out as expected."""
    told: str
    """What came out instead, or why that cannot be known."""


async def replay(recipe: Recipe) -> list[Replayed]:
    """Send the pinned examples beside a recipe through the graph as it is now.

    Rules, limits and code are those of now, and so are the prompts: a call whose prompt has changed is not at hand, and
    what would be replied to the new one is not known.

    Raises:
        UserError: when there is no case, or a file is none.
    """
    recipe = resolved(recipe)
    work = corpus(recipe)
    graph = work.build()
    alike = likeness(recipe, None)
    return [await _one(recipe, work, graph, path, case, alike) for path, case in pinned(recipe.folder)]


async def _one(recipe: Recipe, work: Work, graph: Any, path: Path, case: Case, alike: Likeness | None) -> Replayed:
    def said(holds: bool, told: str = "") -> Replayed:
        return Replayed(path, case, holds, told)

    agents = {agent.name: agent for agent in work.catalog.agents["instruct"]}
    if case.asked_by not in agents:
        return said(False, f"the recipe has no agent {case.asked_by} any more")
    recipe = recipe.model_copy(update={"seed": case.run_seed})
    unknown = {"identity": "unknown", "schema": True, "regex": True}
    sms = {name: Absent(engines={name: unknown} | case.engines, name=name) for name in recipe.engines}
    members = None
    if case.persona is not None and case.persona_set is not None:
        members = Matching(PersonaSet(case.persona_set, "", "", (case.persona,)), "uniform", recipe.seed)
    caller = Naming(sms, AtHand(calls=case.calls), Budget(), recipe.seed)
    gate = Gate(PairIndex(None, None, None), 0)
    context = Context(recipe, work.catalog, members, caller, gate, work.compared, likeness=alike, table=work.table)
    state: State = {"seed": case.seed, "draw": case.draw, "turn": 0, "asked_by": agents[case.asked_by]}
    try:
        out = await graph.ainvoke(state, context=context, config={"recursion_limit": 200}, version="v2")
    except Missing as missing:
        return said(False, f"{missing.agent} is asked something else now: run the recipe, then pin the example again")
    except PromptError as error:
        return said(False, error.message)
    example = out.value["example"]
    if example.status != case.status:
        why = f" ({example.reason})" if example.reason else ""
        return said(False, f"{example.status}{why}, expected {case.status}{f' ({case.reason})' if case.reason else ''}")
    if case.reason is not None and example.reason != case.reason:
        return said(False, f"rejected by {example.reason}, expected {case.reason}")
    if case.messages is not None and example.payload.get("messages") != case.messages:
        return said(False, "accepted, with another text")
    return said(True)
