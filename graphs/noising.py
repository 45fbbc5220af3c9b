"""Noise: some finished drafts have their instruction reworded, as real users might put it; their answers stay.

What must survive is read off the clean instruction first, by rules; a wording that breaks it is asked for again and
told why, and at last the clean one is kept. So noise costs no draft: it is put into those that pass the rules, and only
where what it says, and what is answered, stay the same. After Weave (github.com/ashikshafi08/weave, v0.1.0).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from langgraph.runtime import Runtime

from understudy.agents import Agent, Unusable
from understudy.errors import EngineRefused
from understudy.evals import verdicts
from understudy.evals.invariants import Invariants, broken, invariants, protected_spans
from understudy.evals.rules import quality
from understudy.evals.typos import typos
from understudy.graphs.nodes import Update, ask, paid, pair_of
from understudy.graphs.state import Context, Draft, State
from understudy.models import Embedder, open_embedder
from understudy.noise import Noise
from understudy.nouns import Verdict
from understudy.recipe import Recipe

KEPT = "kept"
TYPOS = "typos"
"""The noiser that works without an SM."""
# A rule that makes a word of another meaning by chance tries elsewhere.
_RULE_TRIES = 8
_STRENGTHS = ((0.2, "slightly"), (0.4, "noticeably"), (0.7, "clearly"), (1.0, "very strongly"))

Likeness = Callable[[str, str], float]
"""The cosine of two texts."""


def likeness(recipe: Recipe, embedder: Embedder | None) -> Likeness | None:
    """How alike two wordings are in meaning, by the recipe's embedder; None where nobody asks.

    Raises:
        ModelError: when the embedder is missing.
    """
    if recipe.noise is None or recipe.noise.similarity is None:
        return None
    model = embedder or open_embedder(recipe.dedup.embedder, recipe.folder)

    def alike(one: str, other: str) -> float:
        vectors = model.embed([one, other])
        return round(float(vectors[0] @ vectors[1]), 6)

    return alike


async def noise(state: State, runtime: Runtime[Context]) -> Update:
    """Draw who rewords the instruction, if anybody, and take the first wording that keeps what it must."""
    context, draft = runtime.context, state["draft"]
    settings, rng = context.recipe.noise, context.rng(state, "noise")
    agents = noisers(state, context)
    if settings is None or not agents or rng.random() >= settings.share or not _sound(state, draft, context):
        return {}
    agent = rng.choices(agents, [settings.weights.get(one.prompt.name, 1.0) for one in agents])[0]
    kept = invariants(draft.instruction, draft.answer, settings.protect)
    calls: tuple[str, ...] = ()
    tried: tuple[Draft, ...] = ()
    outcomes: tuple[str, ...] = ()
    found: tuple[Verdict, ...] = ()
    missed = ""
    by_rule = agent.prompt.name == TYPOS and settings.typos == "rule"
    for attempt in range(0 if by_rule else 1 + settings.retries):
        try:
            shown = await _shown(state, context, agent, kept, missed)
            said = await ask(state, runtime, agent, **shown, variant=attempt)
        except (Unusable, EngineRefused) as error:
            calls += paid(error)
            tried += (draft,)
            outcomes += (error.kind if isinstance(error, Unusable) else "refused by the engine",)
            break
        calls += said.calls
        noised = _reworded(state, draft, said.value, context)
        found, more = await _weighed(state, runtime, noised, kept, agent)
        calls += more
        tried, outcomes = (*tried, noised), (*outcomes, _outcome(found))
        if outcomes[-1] == KEPT:
            break
        missed = str(next(one for one in found if not one.passed).evidence)
    if agent.prompt.name == TYPOS and KEPT not in outcomes:
        noised, found = _mistyped(state, draft, context, kept, rng)
        tried, outcomes = (*tried, noised), (*outcomes, _outcome(found))
    versions = tuple(
        one.version(agent.name, state.get("round", 0) + 1, outcome)
        for one, outcome in zip(tried, outcomes, strict=True)
    )
    if not state.get("versions"):  # a talk, or an agent whose reply is the answer, has none
        versions = (draft.version(state["asked_by"].name, 0, KEPT), *versions)
    update: Update = {"versions": versions, "calls": calls}
    if outcomes[-1] != KEPT:
        return update
    scored = tuple(one for one in found if one.score is not None)
    update |= {"draft": tried[-1], "instruction": tried[-1].instruction, "path": (agent.name,)}
    return update | {"checked": (*state.get("checked", ()), *scored)}


def noisers(state: State, context: Context) -> tuple[Agent, ...]:
    """Who may reword a draft's instruction: nobody where it is the same for all, or must fit a row or calls."""
    asked_by, settings = state["asked_by"].prompt, context.recipe.noise
    if settings is None or asked_by.request is not None or "dialogue" in state or "row" in state:
        return ()
    able = context.catalog.of("noise", state["seed"].kind)
    return tuple(one for one in able if not settings.weights or one.prompt.name in settings.weights)


def _sound(state: State, draft: Draft, context: Context) -> bool:
    """Whether a draft breaks no rule: what is to be rejected is not worth a call."""
    return all(verdict.passed for verdict in verdicts(pair_of(state, draft), context.limits(state)))


async def _shown(state: State, context: Context, agent: Agent, kept: Invariants, missed: str) -> dict[str, Any]:
    """What a noiser's prompt may say."""
    settings = _settings(context)
    word = next(word for most, word in _STRENGTHS if settings.strength <= most)
    beside = await context.beside(state["seed"]) if "neighbours" in agent.prompt.task else ""
    if talk := state.get("exchanges"):
        beside = "\n".join([*([beside] if beside else []), *(f"User: {one}\nAssistant: {two}" for one, two in talk)])
    return {
        "instruction": state["draft"].instruction, "strength": word, "protected": ", ".join(kept.shown),
        "neighbours": beside, "locale": settings.locale or "", "missed": missed,
    }  # fmt: skip


def _settings(context: Context) -> Noise:
    assert context.recipe.noise is not None  # or there is no noiser  # noqa: S101
    return context.recipe.noise


def _reworded(state: State, draft: Draft, text: str, context: Context) -> Draft:
    noised = replace(draft, instruction=text)
    return replace(noised, quality=quality(pair_of(state, noised), context.limits(state)))


async def _weighed(
    state: State, runtime: Runtime[Context], noised: Draft, kept: Invariants, agent: Agent
) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
    """What is said of a wording, up to the first no, and the calls that it took."""
    context, clean, settings = runtime.context, state["draft"], _settings(runtime.context)
    if said := _by_rules(state, noised, context, kept):
        return (said,), ()
    found: tuple[Verdict, ...] = ()
    if context.likeness is not None and settings.similarity is not None:
        score = await asyncio.to_thread(context.likeness, clean.instruction, noised.instruction)
        low, high = settings.similarity
        most = 1.0 if agent.prompt.name == TYPOS else high
        why = f"similarity {score:.2f}, expected {low:g} to {most:g}"
        found = (Verdict("noise/meaning", low <= score <= most, min(1.0, max(0.0, score)), why),)
        if not found[0].passed:
            return found, ()
    calls: tuple[str, ...] = ()
    if settings.judge:
        values = {"instruction": noised.instruction, "other": clean.instruction, "answer": clean.answer}
        for judge in context.catalog.of("judge", state["seed"].kind, judged="same-answer"):
            try:
                said_by = await ask(state, runtime, judge, **values)
            except (Unusable, EngineRefused) as error:
                unread = Verdict("noise/label", False, None, f"not understood: {judge.name}")
                return (*found, unread), calls + paid(error)
            calls += said_by.calls
            word = said_by.value
            why = word.reason if word.passes else f"the answer would be another one: {word.reason}"
            found += (Verdict("noise/label", word.passes, float(word.passes), why),)
            if not word.passes:
                break
    return found, calls


def _by_rules(state: State, noised: Draft, context: Context, kept: Invariants) -> Verdict | None:
    """The first thing that is wrong by the invariants or by the rules that every example must pass."""
    if said := broken(state["draft"].instruction, noised.instruction, kept, _settings(context).min_words):
        return said
    said_by_rules = verdicts(pair_of(state, noised), context.limits(state))
    return next((verdict for verdict in said_by_rules if not verdict.passed), None)


def _mistyped(
    state: State, draft: Draft, context: Context, kept: Invariants, rng: Random
) -> tuple[Draft, tuple[Verdict, ...]]:
    """The instruction with typos by rule; what no place can be found for is left as it is, and says so."""
    spans = protected_spans(draft.instruction, (*kept.shown, kept.label or ""))
    found: tuple[Verdict, ...] = ()
    noised = draft
    for _ in range(_RULE_TRIES):
        text = typos(draft.instruction, _settings(context).strength, rng, spans)
        noised = _reworded(state, draft, text, context)
        said = _by_rules(state, noised, context, kept)
        found = (said,) if said else ()
        if said is None or said.by == "noise/unchanged":
            break
    return noised, found


def _outcome(found: tuple[Verdict, ...]) -> str:
    """`kept`, or what was wrong: `noise/numbers: number 12 lost`."""
    no = next((one for one in found if not one.passed), None)
    return KEPT if no is None else f"{no.by}: {no.evidence}"
