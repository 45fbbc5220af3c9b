"""Answering: several candidates where the recipe wants them, and which of them is kept."""

from __future__ import annotations

from langgraph.runtime import Runtime

from understudy.agents import Agent, Unusable
from understudy.errors import EngineRefused
from understudy.evals import verdicts
from understudy.graphs.nodes import Update, ask, counted, draft_of, paid, pair_of, together
from understudy.graphs.state import Context, Draft, State

_TIED, _UNREAD = "tied", "not understood"


@counted
async def answer(state: State, runtime: Runtime[Context]) -> Update:
    """Answer the instruction from the material."""
    context, asked_by = runtime.context, state["asked_by"].prompt
    answerable = state.get("answerable", asked_by.answerable)
    agents = context.catalog.of("answer", state["seed"].kind, asked_by.skill, answerable=answerable)
    agent = context.rng(state, "answer").choice(agents)
    if "draft" in state:
        try:
            said = await ask(state, runtime, agent, instruction=state["instruction"])
        except (Unusable, EngineRefused) as error:  # the edited instruction found no answer; the draft before it stands
            return {"answer": "", "path": (agent.name,), "calls": paid(error)}
        return {"answer": said.value, "path": (agent.name,), "calls": said.calls}
    state = {**state, "answerable": answerable}
    replies, calls = await _replies(state, runtime, agent)
    drafts = [draft_of(state, runtime, text) for text in dict.fromkeys(replies)]
    best, outcomes, more = await _best(state, runtime, drafts)
    draft = drafts[best]
    versions = tuple(draft.version(agent.name, 0, why) for draft, why in zip(drafts, outcomes, strict=True))
    update: Update = {"answer": draft.answer, "path": (agent.name,), "calls": calls + more, "versions": versions}
    return update | {"answerable": answerable, "draft": draft, "round": 0, "improved": True}


async def _replies(state: State, runtime: Runtime[Context], agent: Agent) -> tuple[list[str], tuple[str, ...]]:
    """The candidates that can be read, and all calls."""
    ways = (
        ask(state, runtime, agent, instruction=state["instruction"], variant=place)
        for place in range(runtime.context.recipe.candidates)
    )
    texts, calls, _ = await together(ways)
    return texts, calls


async def _best(state: State, runtime: Runtime[Context], drafts: list[Draft]) -> tuple[int, list[str], tuple[str, ...]]:
    """Which candidate is kept, what became of each, and the calls that it took.

    One that breaks a rule loses to one that breaks none; of the others, each challenges the best before it, and the
    judges decide, asked in both orders. Where they do not agree with themselves, the earlier one stays.
    """
    limits = runtime.context.limits(state)
    broken = [next((v.by for v in verdicts(pair_of(state, draft), limits) if not v.passed), None) for draft in drafts]
    able = [place for place, rule in enumerate(broken) if rule is None] or [
        max(range(len(drafts)), key=lambda place: (drafts[place].quality, -place))
    ]
    outcomes = [rule or "kept" for rule in broken]
    best, *challengers = able
    outcomes[best] = "kept"
    calls: tuple[str, ...] = ()
    for place in challengers:
        word, paid_for = await _better(state, runtime, drafts[place].answer, drafts[best].answer)
        calls += paid_for
        if word is True:
            outcomes[best], best = "worse than another", place
        else:
            outcomes[place] = "worse than another" if word is False else word
    return best, outcomes, calls


async def _better(state: State, runtime: Runtime[Context], one: str, other: str) -> tuple[bool | str, tuple[str, ...]]:
    """Whether one answer beats another, or why that cannot be said; without judges, nothing can."""
    judges = runtime.context.catalog.of("judge", state["seed"].kind, judged="better")
    calls: tuple[str, ...] = ()
    balance, read = 0, False
    for judge in judges:
        words = []
        for first, second in ((one, other), (other, one)):
            try:
                said = await ask(state, runtime, judge, instruction=state["instruction"], answer=first, other=second)
            except Unusable as error:
                calls += error.calls
                continue
            calls += said.calls
            words.append(said.value)
        read = read or len(words) == 2
        balance += {("A", "B"): 1, ("B", "A"): -1}.get(tuple(words), 0)
    if judges and not read:
        return _UNREAD, calls
    return (balance > 0 if balance else _TIED), calls
