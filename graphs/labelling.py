"""Drafts the other way round for classifiers: the label first, then a text that has it."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from understudy.evals import LABELLED_RULES, Pair, verdicts
from understudy.evals.label_leak import leak
from understudy.graphs.nodes import Update, ask, counted, draft_of, rejected
from understudy.graphs.state import Context, State
from understudy.labels import Labels


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


def _cells(labels: Labels) -> dict[str, Any]:
    return {"topic": labels.topics, "length": labels.lengths}


def _labels(runtime: Runtime[Context]) -> Labels:
    assert runtime.context.recipe.labels is not None  # checked before the run  # noqa: S101
    return runtime.context.recipe.labels
