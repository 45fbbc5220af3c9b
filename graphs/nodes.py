"""The nodes: each reads the state, lets at most one kind of agent speak, and returns what it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any, Protocol

from langgraph.runtime import Runtime

from understudy.agents import Agent, Judgement, Spoken, Unusable
from understudy.errors import EngineRefused
from understudy.evals import INSTRUCTION_RULES, RECORD_RULES, RULES, Pair, faithful_passage, quality, verdicts
from understudy.graphs.state import Context, Draft, State, told
from understudy.nouns import Example, ExampleKind, Persona, Verdict

Update = dict[str, Any]


class Node(Protocol):
    """What LangGraph calls."""

    async def __call__(self, state: State, runtime: Runtime[Context]) -> Update:
        """The changes to the state."""
        ...


def counted(node: Node) -> Node:
    """A reply that cannot be read, or a request the engine refuses, ends the draft with its reason."""

    @wraps(node)
    async def guarded(state: State, runtime: Runtime[Context]) -> Update:
        try:
            return await node(state, runtime)
        except Unusable as error:
            failed = {"status": "failed", "reason": f"{error.kind}: {error.agent}"}
            return failed | {"path": (error.agent,), "calls": error.calls}
        except EngineRefused as error:
            return {"status": "failed", "reason": f"engine: {error.message.split(':')[0]}"}

    return guarded


async def ask(state: State, runtime: Runtime[Context], agent: Agent, **values: Any) -> Spoken:
    """One typed reply in a draft."""
    values = {"conversation": "", "results": "", "wanted": "", "record": ""} | values
    calls = state.get("calls", ())
    seed, passage = state["seed"], state.get("passage")
    if passage and state.get("recast"):  # the seed says otherwise
        seed, passage = replace(seed, content=passage), None
    persona = state.get("persona")
    if agent.prompt.family == "persona":
        values = {"granularity": runtime.context.recipe.personas.granularity, "topic": "", "relation": ""} | values
    else:
        values["persona"] = persona.text if persona else ""
    return await agent.ask(
        runtime.context.caller,
        seed,
        state["draw"],
        passage,
        parent=calls[-1] if calls else None,
        voice=runtime.context.voice(state, agent),
        priority=state["turn"],
        **values,
    )


def paid(error: Unusable | EngineRefused) -> tuple[str, ...]:
    """The calls that came before an error."""
    return error.calls if isinstance(error, Unusable) else ()


async def together(ways: Iterable[Awaitable[Spoken]]) -> tuple[list[Any], tuple[str, ...], int]:
    """What is said in several ways at once: the values that can be read, all calls, and how many could not be read.

    Raises:
        Unusable, EngineRefused: when none can be read, with all calls.
    """
    values: list[Any] = []
    calls: tuple[str, ...] = ()
    errors: list[Unusable | EngineRefused] = []
    for one in await asyncio.gather(*ways, return_exceptions=True):
        if isinstance(one, Spoken):
            values.append(one.value)
            calls += one.calls
        elif isinstance(one, Unusable | EngineRefused):
            errors.append(one)
            calls += paid(one)
        else:
            raise one
    if not values:
        if isinstance(errors[0], Unusable):
            errors[0].calls = calls
        raise errors[0]
    return values, calls, len(errors)


@counted
async def persona(state: State, runtime: Runtime[Context]) -> Update:
    """Infer a persona from the seed, or draw one from the set; a seed that is a persona speaks for itself."""
    context, seed = runtime.context, state["seed"]
    if context.table is not None and not context.table.texts:
        return {"persona": None}  # nobody's voice is heard in numbers
    if seed.kind == "persona":
        return {"persona": Persona(**seed.meta["persona"])}
    rng = context.rng(state, "persona")
    able = context.catalog.of("persona", seed.kind)
    share = context.recipe.personas.inferred if context.personas else 1.0
    if able and rng.random() < share:
        agent = rng.choice(able)
        said = await ask(state, runtime, agent)
        return {"persona": Persona.of(said.value, source=seed.id), "path": (agent.name,), "calls": said.calls}
    if context.personas is None:
        return {"persona": None}
    who = (seed, state["draw"], state["turn"], rng)
    members = context.personas
    drawn = await asyncio.to_thread(members.pick, *who) if members.embeds else members.pick(*who)
    return {"persona": drawn, "path": (f"persona-set/{members.members.name}",)}


@counted
async def transform(state: State, runtime: Runtime[Context]) -> Update:
    """Recast the seed in another form, or leave it as it is: one chance among the forms."""
    able = runtime.context.catalog.of("transform", state["seed"].kind, state["asked_by"].prompt.skill)
    agents = [agent for agent in able if agent.prompt.reply == "Passage"]
    asked_by = state["asked_by"].prompt
    if asked_by.need(state["seed"].kind) or asked_by.turns > 1:  # a need must be met, a talk be about what is known
        agents = []
    chosen = runtime.context.rng(state, "transform").choice([None, *agents])
    if chosen is None:
        return {"passage": None, "path": ("transform/identity",)}
    said = await ask(state, runtime, chosen)
    update: Update = {"passage": said.value, "path": (chosen.name,), "calls": said.calls}
    verdict = faithful_passage(said.value, state["seed"].content, runtime.context.recipe.verify)
    return update | (rejected((verdict,)) if verdict and not verdict.passed else {})


@counted
async def instruct(state: State, runtime: Runtime[Context]) -> Update:
    """Write one instruction about the material."""
    context = runtime.context
    agent = state["asked_by"]
    shape = context.recipe.personas.shape if state["seed"].kind == "persona" else "zero-shot"
    said = await ask(state, runtime, agent, shape=shape)
    update: Update = {"path": (agent.name,), "calls": said.calls}
    if agent.prompt.request is not None:  # the reply is the answer already
        persona = state.get("persona")
        asked = agent.prompt.asked(kind=state["seed"].kind, persona=persona.text if persona else "")
        update |= {"instruction": asked, "answer": _written(said.value), "round": 0, "improved": True}
        whole: State = {**state, **update}  # type: ignore[typeddict-item]
        return update | {"draft": draft_of(whole, runtime, update["answer"])}
    update["instruction"] = said.value
    pair = pair_of(state, Draft(said.value, "", 0.0, state.get("passage")))
    found = verdicts(pair, context.limits(state), INSTRUCTION_RULES)
    return update | (rejected(found) if not all(verdict.passed for verdict in found) else {})


async def gate(state: State, runtime: Runtime[Context]) -> Update:
    """Meet near-duplicates before anything more is paid for them."""
    match = await runtime.context.gate.admit(state["turn"], runtime.context.compared(state))
    if match is None:
        return {}
    how = "same words" if match.by == "minhash" else "same meaning"
    return {"status": "duplicate", "reason": how, "parents": (match.key,), "verdicts": (_twin(match),)}


def _twin(match: Any) -> Verdict:
    return Verdict(f"dedup/{match.by}", False, round(match.similarity, 6))


def _written(value: Any) -> str:
    """A typed reply as the text of an answer."""
    return value if isinstance(value, str) else str(value.model_dump_json(indent=2))


def draft_of(state: State, runtime: Runtime[Context], answer: str) -> Draft:
    """The instruction with an answer, weighed by the rules."""
    draft = Draft(
        state["instruction"], answer, 0.0, state.get("passage"), state.get("recast", False),
        state.get("answerable", True),
    )  # fmt: skip
    return replace(draft, quality=quality(pair_of(state, draft), runtime.context.limits(state)))


@counted
async def verify(state: State, runtime: Runtime[Context]) -> Update:
    """The rules first; if they pass, the judges, until one says no."""
    context = runtime.context
    draft = state["draft"]
    exchanges = state.get("exchanges", ())
    asked_by = state["asked_by"].prompt
    # What began with something has met its own rules, but for those of records.
    rules = RULES if asked_by.first is None else RECORD_RULES if asked_by.first in {"record", "row"} else ()
    spoken = [replace(draft, instruction=asked, answer=answered) for asked, answered in exchanges]
    by_turn = [
        verdicts(pair_of({**state, "exchanges": exchanges[:before]}, one), context.limits(state), rules)
        for before, one in enumerate((*spoken, draft))
    ]
    # Of a conversation, the first turn that breaks a rule speaks for it.
    found = next((said for said in by_turn if not all(verdict.passed for verdict in said)), by_turn[-1])
    found = (*state.get("checked", ()), *found)
    asked = f"{told(exchanges)}\nUser: {draft.instruction}" if exchanges else draft.instruction
    failed = not all(verdict.passed for verdict in found)
    path: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    for judge in () if failed else context.judges(state):
        try:
            said = await ask(state, runtime, judge, instruction=asked, answer=draft.answer)
        except Unusable as error:
            return {"status": "failed", "reason": f"parse: {judge.name}", "verdicts": found,
                    "path": (*path, judge.name), "calls": calls + error.calls}  # fmt: skip
        word: Judgement = said.value
        passes = word.passes == (judge.prompt.of == "example")  # what is unanswerable must not be answered
        found += (Verdict(judge.name, passes, float(passes), word.reason),)
        path, calls = (*path, judge.name), calls + said.calls
        if not passes:
            failed = True
            break
    if failed:
        return rejected(found) | {"path": path, "calls": calls}
    return {"status": "accepted", "reason": None, "verdicts": found, "path": path, "calls": calls}


def rejected(found: tuple[Verdict, ...]) -> Update:
    """A draft that did not pass: the first verdict that says so is the reason."""
    first = next(verdict for verdict in found if not verdict.passed)
    return {"status": "rejected", "reason": first.by, "verdicts": found}


async def commit(state: State, runtime: Runtime[Context]) -> Update:
    """Close the draft as an example; the runner writes it when its turn comes."""
    draft = state.get("draft")
    instruction = draft.instruction if draft else state.get("instruction")
    messages: list[dict[str, Any]] = list(state.get("dialogue", ()))
    if messages and draft:
        messages.append({"role": "assistant", "content": draft.answer})
    if instruction and not messages:
        asked_by = state["asked_by"]
        shown = state["seed"].content
        if draft and draft.passage and (draft.recast or state["seed"].kind == "text"):
            shown = draft.passage  # what was asked about
        content = f"{shown}\n\n{instruction}" if asked_by.prompt.attach else instruction
        for asked, answered in state.get("exchanges", ()):
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": answered})
        messages.append({"role": "user", "content": content})
        if draft:
            messages.append({"role": "assistant", "content": draft.answer})
    return {"example": closed(state, "row" if state["asked_by"].prompt.first == "row" else "chat", messages)}


def closed(state: State, kind: ExampleKind, messages: list[dict[str, Any]]) -> Example:
    """A draft whose fate is known, as an example."""
    seed, draft = state["seed"], state.get("draft")
    payload: dict[str, Any] = {"messages": messages} if messages else {}
    if draft and not draft.answerable:
        payload["answerable"] = False
    if state.get("row"):
        payload["row"] = state["row"]
    if messages and "tools" in state:
        payload["tools"] = list(state["tools"])
    found, versions = state.get("verdicts", ()), state.get("versions", ())
    return Example(
        id=Example.address(kind, payload, seed.id, state["draw"]),
        kind=kind,
        payload=payload,
        seed=seed.id,
        draw=state["draw"],
        persona=state.get("persona"),
        parents=state.get("parents", ()),
        path=state.get("path", ()),
        calls=state.get("calls", ()),
        scores={verdict.by: verdict.score for verdict in found if verdict.score is not None},
        verdicts=found,
        status=state["status"],
        reason=state["reason"],
        versions=versions if len(versions) > 1 else (),
    )


def pair_of(state: State, draft: Draft) -> Pair:
    """A draft as the rules see it."""
    asked_by = state["asked_by"].prompt
    material = draft.passage or "" if draft.recast else f"{state['seed'].content}\n{draft.passage or ''}"
    if exchanges := state.get("exchanges"):  # a turn may take up what was said before
        material += f"\n{told(exchanges)}"
    return Pair(draft.instruction, draft.answer, material, asked_by.attach, asked_by.task)
