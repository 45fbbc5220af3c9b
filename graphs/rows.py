"""Drafts of rows: a sketch first, then a line of cells, then what is free text; each row is checked as it is written.

What may not be is found before anything more is paid for: a cell that does not fit the schema, another class than was
asked for, a row or text of the sample.
"""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from understudy.agents import Agent
from understudy.columns import Record
from understudy.corpus.table_schema import Wrong, form, line, loose_form, outside, read_line, told
from understudy.graphs.nodes import Update, ask, counted, draft_of, rejected
from understudy.graphs.state import Context, State
from understudy.graphs.table import Questions, Table
from understudy.nouns import Verdict

_EXAMPLES = 3


@counted
async def write_row(state: State, runtime: Runtime[Context]) -> Update:
    """Write the cells of a row to the sketch of it."""
    table, agent = _table(runtime), state["asked_by"]
    sketch = table.sketch(state["seed"].meta["rank"], state["draw"], runtime.context.rng(state, "sketch"))
    said = await ask(
        state, runtime, agent, form=form(table.schema, sketch), check=loose_form(table.schema),
        wanted=told(sketch, table.schema),
    )  # fmt: skip
    record, wrong = read_line(said.value, table.schema)
    update: Update = {"path": (agent.name,), "calls": said.calls, "row": record}
    found: tuple[Verdict, ...] = (_fits(wrong),)
    if not wrong:
        found += (_as_sketched(record, sketch, table),)
    if not wrong and not table.texts:  # else once it is whole: few cells alone are those of many
        found += table.privacy.verdicts(record)
    if not all(verdict.passed for verdict in found):
        return update | rejected(found)
    return update | {"checked": found} | ({} if table.texts else _drafted(state, update, runtime))


@counted
async def write_free_text(state: State, runtime: Runtime[Context]) -> Update:
    """Write the free text of a row, as the persona would; then look once more whether it says too much."""
    table, agent, record = _table(runtime), state["asked_by"], dict(state["row"])
    rng, cells = runtime.context.rng(state, "examples"), line(record, table.schema)
    shown = [dict(zip(state["seed"].meta["columns"], row, strict=True)) for row in state["seed"].meta["rows"]]
    calls: tuple[str, ...] = ()
    for place, name in enumerate(table.texts):
        known = [str(row[name]) for row in shown if row[name]]
        said = await ask(
            {**state, "calls": (*state["calls"], *calls)}, runtime, agent, next_turn=True, variant=place, record=cells,
            column=name, meaning=table.schema[name].meaning, examples=rng.sample(known, min(_EXAMPLES, len(known))),
        )  # fmt: skip
        record[name] = said.value
        calls += said.calls
    update: Update = {"row": record, "calls": calls}
    found = (*state["checked"], *table.privacy.verdicts(record))
    if not all(verdict.passed for verdict in found):
        return update | rejected(found)
    return update | {"checked": found} | _drafted(state, update, runtime)


def compared(record: Record) -> str:
    """A row as the gate compares it: a word for each cell."""
    words = (f"{name}{value}" for name, value in record.items())
    return " ".join("".join(char for char in word if char.isalnum()) for word in words)


def _table(runtime: Runtime[Context]) -> Table:
    assert runtime.context.table is not None  # checked before the run  # noqa: S101
    return runtime.context.table


def _fits(wrong: list[Wrong]) -> Verdict:
    """Whether every cell is one that the schema knows."""
    if not wrong:
        return Verdict("rule/schema", True, 1.0)
    first = wrong[0]
    return Verdict(f"rule/{first.kind}", False, 0.0, f"{first.column} is {first.told}" if first.column else first.told)


def _as_sketched(record: Record, sketch: dict[str, Any], table: Table) -> Verdict:
    """Whether the targets are as they were asked for, or quotas would mean nothing; of the rest, how much is."""
    off = outside(record, sketch)
    aimed = [name for name in off if name in table.targets]
    score = 1 - len(off) / len(sketch) if sketch else 1.0
    # The ends of what was wanted may be a real row's own values: they are not told.
    return Verdict("rule/sketch", not aimed, round(score, 4), f"not as sketched: {', '.join(off)}" if off else None)


def conversation(record: Record, asking: Questions, agent: Agent) -> list[dict[str, str]]:
    """A row as a VM is asked of it, and what it is to say."""
    asked = agent.prompt.asked(
        use_case=asking.rows.use_case, fields=asking.fields(record), question=asking.question()
    )  # fmt: skip
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": asking.answer(record)}]


def _drafted(state: State, update: Update, runtime: Runtime[Context]) -> Update:
    """A whole row, as a draft."""
    table = _table(runtime)
    record = {name: update["row"][name] for name in table.schema if name in update["row"]}
    asked, said = (turn["content"] for turn in conversation(record, table, state["asked_by"]))
    more: Update = {"row": record, "instruction": asked, "answer": said, "round": 0, "improved": False}
    whole: State = {**state, **update, **more}  # type: ignore[typeddict-item]
    return more | {"draft": draft_of(whole, runtime, said)}
