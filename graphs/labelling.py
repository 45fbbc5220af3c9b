"""Drafts the other way round for classifiers: the label first, then a text, then somebody who says which label it has.

Who says so has not seen the label, nor the seed or the persona: the text, the question and the possible labels alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

from langgraph.runtime import Runtime

from understudy.agents import Agent, Spoken, Unusable
from understudy.errors import EngineRefused
from understudy.evals import LABELLED_RULES, Pair, records, verdicts
from understudy.evals.label_leak import leak
from understudy.graphs.nodes import Update, ask, counted, draft_of, paid, rejected
from understudy.graphs.state import Context, State
from understudy.labels import Labels
from understudy.nouns import Verdict

ROUND_TRIP = "round-trip/label"


@counted
async def write_labelled(state: State, runtime: Runtime[Context]) -> Update:
    """Write a text that has the draft's label and does not name it; what names it costs no more."""
    agent, labels, label = state["asked_by"], _labels(runtime), state["label"]
    rng = runtime.context.rng(state, "label")
    shown = {name: rng.choice(cells) if cells else "" for name, cells in _cells(labels).items()}
    said = await ask(
        state, runtime, agent, task=labels.task, text=labels.text, label=label,
        meaning=labels.meanings()[label], **shown,
    )  # fmt: skip
    text: str = said.value
    asked = agent.prompt.asked(task=labels.task, text=text, values=list(labels.values))
    update: Update = {"path": (agent.name,), "calls": said.calls, "text": text, "instruction": asked}
    update |= {"answer": label, "round": 0, "improved": False}
    whole: State = {**state, **update}  # type: ignore[typeddict-item]
    limits = runtime.context.limits(state)
    pair = Pair(labels.task, text, state["seed"].content, True, agent.prompt.task)
    found = (leak(text, label, labels.leaks), *verdicts(pair, limits, LABELLED_RULES))
    update |= {"draft": draft_of(whole, runtime, label), "checked": found}
    return update | (rejected(found) if not all(verdict.passed for verdict in found) else {})


@counted
async def round_trip(state: State, runtime: Runtime[Context]) -> Update:
    """Have the label said by somebody who has not seen it; enough votes must be for the one that the text was for."""
    context, labels, label = runtime.context, _labels(runtime), state["label"]
    solvers = context.catalog.solvers
    alone: State = {**state, "seed": replace(state["seed"], content=state["text"]), "passage": None, "persona": None}
    voters = [solvers[place % len(solvers)] for place in range(labels.votes)]
    ways = (_vote(alone, runtime, agent, place) for place, agent in enumerate(voters))
    votes: Counter[str] = Counter()
    calls: tuple[str, ...] = ()
    errors: list[Unusable | EngineRefused] = []
    for one in await asyncio.gather(*ways, return_exceptions=True):
        if isinstance(one, Spoken):
            votes[_value(one.value, labels)] += 1
            calls += one.calls
        elif isinstance(one, Unusable | EngineRefused):
            errors.append(one)
            calls += paid(one)
        else:
            raise one
    if not votes:
        if isinstance(errors[0], Unusable):
            errors[0].calls = calls
        raise errors[0]
    told = ", ".join(f"{value} {count}" for value, count in votes.most_common())
    told += f", not understood {len(errors)}" if errors else ""
    verdict = Verdict(ROUND_TRIP, votes[label] >= labels.agree, round(votes[label] / labels.votes, 4), told)
    found = (*state["checked"], verdict)
    update: Update = {"path": tuple(dict.fromkeys(agent.name for agent in voters)), "calls": calls, "checked": found}
    return update | (rejected(found) if not verdict.passed else {})


async def _vote(state: State, runtime: Runtime[Context], agent: Agent, place: int) -> Spoken:
    """One vote; each sees the labels in an order of its own, since small SMs prefer the first or the last."""
    labels = _labels(runtime)
    meanings = list(labels.meanings().items())
    turn = (runtime.context.rng(state, "votes").randrange(len(meanings)) + place) % len(meanings)
    values = dict(meanings[turn:] + meanings[:turn])
    named = "|".join(records.literal(value) for value in values)
    return await ask(
        state, runtime, agent, variant=place, task=labels.task, values=values, form=f"(?:{named})",
        check=rf"(?i:{named})\.?",
    )  # fmt: skip


def _value(said: str, labels: Labels) -> str:
    """The label that a reply names."""
    known = {value.casefold(): value for value in labels.values}
    return known.get(said.casefold()) or known[said.removesuffix(".").casefold()]


def _cells(labels: Labels) -> dict[str, Any]:
    return {"topic": labels.topics, "length": labels.lengths}


def _labels(runtime: Runtime[Context]) -> Labels:
    assert runtime.context.recipe.labels is not None  # checked before the run  # noqa: S101
    return runtime.context.recipe.labels
