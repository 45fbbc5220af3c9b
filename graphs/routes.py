"""Where a draft goes next: pure functions of its state.

They are async because LangGraph runs a plain function on another thread, and the change costs more than the function.
"""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime

from understudy.graphs.state import Context, State

_BY_KIND: dict[str, Literal["transform_document", "transform_table", "transform_code"]] = {
    "text": "transform_document",
    "dialogue": "transform_document",
    "table": "transform_table",
    "code": "transform_code",
}


async def by_kind(state: State) -> Literal["transform_document", "transform_table", "transform_code", "commit"]:
    """Each kind of seed has transform agents of its own."""
    return "commit" if "status" in state else _BY_KIND[state["seed"].kind]


async def after_transform(state: State) -> Literal["instruct", "commit"]:
    """A passage is asked about; a failed transformation ends the draft."""
    return "commit" if "status" in state else "instruct"


async def after_instruct(state: State) -> Literal["gate", "commit"]:
    """An instruction meets the gate."""
    return "commit" if "status" in state else "gate"


async def after_gate(state: State) -> Literal["answer", "commit"]:
    """A duplicate is kept on record and costs no more."""
    return "commit" if "status" in state else "answer"


async def after_answer(state: State, runtime: Runtime[Context]) -> Literal["weigh", "suggest", "verify", "commit"]:
    """The first answer makes the draft; one to an edited instruction is weighed against it."""
    if "status" in state:
        return "commit"
    return "weigh" if state["round"] else await after_weigh(state, runtime)


async def after_weigh(state: State, runtime: Runtime[Context]) -> Literal["suggest", "verify"]:
    """Refine while rounds are left and the last one improved something."""
    context = runtime.context
    rounds = context.recipe.refine_rounds if context.catalog.of("refine", state["seed"].kind) else 0
    return "suggest" if state["improved"] and state["round"] < rounds else "verify"


async def after_suggest(state: State) -> Literal["edit", "verify"]:
    """No usable suggestion: the draft stands as it is."""
    return "edit" if state["improved"] else "verify"


async def after_edit(state: State) -> Literal["answer", "weigh", "verify"]:
    """A new instruction needs a new answer; a new answer is weighed; no usable edit ends the loop."""
    if not state["improved"]:
        return "verify"
    return "answer" if state["editor"].prompt.edits == "instruction" else "weigh"
