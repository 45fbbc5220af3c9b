"""The refine loop: one mechanism for three methods.

Each round draws an agent anew. `suggest` (AgentInstruct, arXiv 2407.03502): a suggester and an editor, towards the
agent's goal; it ends when the goal is reached or nothing is gained. `evolve` (Evol-Instruct, arXiv 2304.12244): one
operation on the instruction; what is eliminated returns to the pool, that is, the parent is tried again in the next
round. `principle` (Constitutional AI, arXiv 2212.08073, section 3): a critique by a principle, and a revision.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import regex
from langgraph.runtime import Runtime

from understudy.agents import Agent, Unusable
from understudy.errors import EngineRefused
from understudy.evals import added, eliminated, words
from understudy.graphs.nodes import Update, ask, counted, draft_of, paid
from understudy.graphs.state import Context, Draft, State
from understudy.prompt import Method

KEPT = "kept"
_MATCH_S = 1.0

Word = tuple[str, bool, tuple[str, ...]]
"""What became of an edit, whether there is to be another round, and the calls that it took to say so."""


async def suggest(state: State, runtime: Runtime[Context]) -> Update:
    """Draw who refines; of a pair, the suggester or critic speaks."""
    agents = runtime.context.refiners(state)
    agent = runtime.context.rng(state, f"refine:{state['round']}").choice(agents)
    update: Update = {"round": state["round"] + 1, "editor": agent, "ready": True, "suggestion": ""}
    if agent.prompt.editor is None:
        return update
    update["path"] = (f"{agent.name}:suggest",)
    draft = state["draft"]
    try:
        said = await ask(state, runtime, agent, instruction=draft.instruction, answer=draft.answer)
    except (Unusable, EngineRefused) as error:
        return update | _unusable(state, update, error)
    return update | {"suggestion": said.value, "calls": said.calls}


async def edit(state: State, runtime: Runtime[Context]) -> Update:
    """Apply the suggestion, the operation, or the critique."""
    agent, draft = state["editor"], state["draft"]
    update: Update = {"path": (f"{agent.name}:edit",)}
    try:
        said = await ask(
            state, runtime, agent, editor=agent.prompt.editor is not None, instruction=draft.instruction,
            answer=draft.answer, suggestion=state["suggestion"],
        )  # fmt: skip
    except (Unusable, EngineRefused) as error:
        return update | _unusable(state, {}, error)
    update |= {"calls": said.calls, str(agent.prompt.edits): said.value}
    if agent.prompt.edits == "passage":
        update["recast"] = True
    if not agent.prompt.answerable:
        update["answerable"] = False
    return update


def _unusable(state: State, update: Update, error: Unusable | EngineRefused) -> Update:
    """Nothing came of a round: the draft stands as it is. A suggester is not asked again, the other methods go on."""
    agent = update.get("editor") or state["editor"]
    why = error.kind if isinstance(error, Unusable) else "refused by the engine"
    version = state["draft"].version(agent.name, update.get("round") or state["round"], why)
    return {"ready": False, "improved": agent.prompt.method != "suggest", "calls": paid(error), "versions": (version,)}


@counted
async def weigh(state: State, runtime: Runtime[Context]) -> Update:
    """Keep an edit or go back to the draft before it, as the method has it."""
    agent, best = state["editor"], state["draft"]
    draft = draft_of(state, runtime, state["answer"])
    calls: tuple[str, ...] = ()
    if not draft.answer:
        outcome, goes_on = "no answer", agent.prompt.method == "evolve"
    elif any(_same(draft, version) for version in state.get("versions", ())):
        outcome = "no gain" if _same(draft, best) else "repetition"
        goes_on = agent.prompt.method != "suggest"
    else:
        outcome, goes_on, calls = await _METHODS[agent.prompt.method](state, runtime, draft)
    update: Update = {"improved": goes_on, "versions": (draft.version(agent.name, state["round"], outcome),)}
    if calls:
        update["calls"] = calls
    if outcome.startswith(KEPT):
        return update | {"draft": draft}
    return update | best.as_state()


def _same(one: Draft, other: Any) -> bool:
    return (one.instruction, one.answer, one.passage) == (other.instruction, other.answer, other.passage)


async def _suggested(state: State, runtime: Runtime[Context], draft: Draft) -> Word:
    """Kept unless a score falls, and gone on with if one rose; a goal must be reached, and ends the loop."""
    prompt, best = state["editor"].prompt, state["draft"]
    if prompt.edits == "passage":
        same = words(draft.answer) == words(best.answer)
        return ("same answer" if same else KEPT), False, ()
    if not prompt.answerable:
        found, calls = await _answered(state, runtime, draft)
        return found or KEPT, False, calls
    if draft.quality < best.quality:
        return "worse", False, ()
    return KEPT, draft.quality > best.quality, ()


async def _answered(state: State, runtime: Runtime[Context], draft: Draft) -> tuple[str | None, tuple[str, ...]]:
    """Why the instruction does not pass for unanswerable, None if it does; and the calls that it took to say so."""
    calls: tuple[str, ...] = ()
    for judge in runtime.context.catalog.of("judge", state["seed"].kind, judged="answerable"):
        try:
            said = await ask(state, runtime, judge, instruction=draft.instruction, answer=draft.answer)
        except Unusable as error:
            return _unread(judge), calls + error.calls
        calls += said.calls
        if said.value.passes:
            return "still answerable", calls
    return None, calls


def _unread(judge: Agent) -> str:
    return f"not understood: {judge.name}"


async def _evolved(state: State, runtime: Runtime[Context], draft: Draft) -> Word:
    """Kept unless a rule or a judge eliminates it; the next round goes on from what there is then."""
    prompt, best = state["editor"].prompt, state["draft"]
    if verdict := eliminated(best.instruction, draft.instruction, draft.answer, prompt.task):
        return verdict.by, True, ()
    calls: tuple[str, ...] = ()
    for judge in runtime.context.catalog.of("judge", state["seed"].kind, judged="gain"):
        try:
            said = await ask(state, runtime, judge, instruction=draft.instruction, other=best.instruction, answer="")
        except Unusable as error:
            return _unread(judge), True, calls + error.calls
        calls += said.calls
        if not said.value.passes:
            return "evolve/no-gain", True, calls
    longer = added(best.instruction, draft.instruction)
    least, most = prompt.added_words or (longer, longer)
    return (KEPT if least <= longer <= most else f"{KEPT}, grown by another length"), True, calls


async def _revised(state: State, runtime: Runtime[Context], draft: Draft) -> Word:
    """Kept unless it does what the principle forbids and its parent did not; every round has a principle of its own."""
    forbids, best = state["editor"].prompt.forbids, state["draft"]
    if forbids and _matches(forbids, draft.answer) and not _matches(forbids, best.answer):
        return "forbidden by its principle", True, ()
    return KEPT, True, ()


def _matches(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=_MATCH_S) is not None
    except TimeoutError:
        return False


_METHODS: dict[Method, Callable[[State, Runtime[Context], Draft], Awaitable[Word]]] = {
    "suggest": _suggested,
    "evolve": _evolved,
    "principle": _revised,
}
