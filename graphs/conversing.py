"""Conversations: after the first answer the user goes on, and so does the assistant, as often as the leaf has it."""

from __future__ import annotations

from langgraph.runtime import Runtime

from understudy.graphs.nodes import Update, ask, counted, draft_of
from understudy.graphs.state import Context, State, told


@counted
async def converse(state: State, runtime: Runtime[Context]) -> Update:
    """One more turn of the user, and its answer."""
    context, asked_by, draft = runtime.context, state["asked_by"], state["draft"]
    exchanges = (*state.get("exchanges", ()), (draft.instruction, draft.answer))
    spoken = told(exchanges)
    asked = await ask(state, runtime, asked_by, next_turn=True, conversation=spoken)
    agents = context.catalog.of("answer", state["seed"].kind, asked_by.prompt.skill)
    agent = context.rng(state, f"answer:{len(exchanges)}").choice(agents)
    said = await ask(state, runtime, agent, instruction=asked.value, conversation=spoken)
    update: Update = {"exchanges": exchanges, "instruction": asked.value, "answer": said.value}
    new: State = {**state, **update}  # type: ignore[typeddict-item]
    return update | {
        "draft": draft_of(new, runtime, said.value),
        "path": (asked_by.name, agent.name),
        "calls": asked.calls + said.calls,
    }
