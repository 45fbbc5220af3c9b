"""Drafts the other way round: a record like those of the seed is written first, then the text that it stands in.

What is to be found is known before there is a text to find it in, so it is right by construction; that each value
stands in the text is checked all the same.
"""

from __future__ import annotations

import json
from dataclasses import replace

from langgraph.runtime import Runtime

from understudy.evals import records
from understudy.graphs.nodes import Update, ask, counted, draft_of, rejected
from understudy.graphs.sketch import Sketch, loose_text_form, sketched, text_form
from understudy.graphs.state import Context, State


@counted
async def write_record(state: State, runtime: Runtime[Context]) -> Update:
    """Write the values of a record: some are taken from the seed's rows, the SM writes the others."""
    agent, drawn = state["asked_by"], _sketch(state, runtime.context)
    said = await ask(_shown(state, drawn), runtime, agent, form=drawn.form)
    record = records.parsed(said.value)
    update: Update = {"path": (agent.name,), "calls": said.calls, "record": record}
    found = (records.distinct(record), records.new(record, [list(row.values()) for row in drawn.records]))
    return update | (rejected(found) if not all(verdict.passed for verdict in found) else {})


@counted
async def write_text(state: State, runtime: Runtime[Context]) -> Update:
    """Write the text around the record's values; the record is then the answer to whoever is shown the text."""
    agent, drawn, record = state["asked_by"], _sketch(state, runtime.context), state["record"]
    line = records.line(record)
    said = await ask(
        _shown(state, drawn), runtime, agent, next_turn=True, record=line,
        form=text_form(record, drawn.around), check=loose_text_form(record),
    )  # fmt: skip
    persona = state.get("persona")
    asked = agent.prompt.asked(
        kind=state["seed"].kind, persona=persona.text if persona else "", text=said.value, given=drawn.given
    )
    answer = json.dumps(record, ensure_ascii=False)
    update: Update = {"instruction": asked, "answer": answer, "calls": said.calls, "round": 0, "improved": True}
    verdict = records.grounded(record, said.value)
    whole: State = {**state, **update}  # type: ignore[typeddict-item]
    update |= {"draft": draft_of(whole, runtime, answer), "checked": (verdict,)}
    return update | (rejected((verdict,)) if not verdict.passed else {})


def _sketch(state: State, context: Context) -> Sketch:
    """The same for both nodes of a draft."""
    meta = state["seed"].meta
    rows = [dict(zip(meta["columns"], cells, strict=True)) for cells in meta["rows"]]
    assert context.recipe.inverted is not None  # checked before the run  # noqa: S101
    return sketched(rows, context.recipe.inverted, context.rng(state, "sketch"))


def _shown(state: State, drawn: Sketch) -> State:
    """The rows as lines of data, each with its text, in the order of this draft."""
    return {**state, "seed": replace(state["seed"], content=drawn.material), "passage": None}
