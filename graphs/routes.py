"""Where a draft goes next: pure functions of its state and the recipe's context."""

from __future__ import annotations

from typing import Literal

from understudy.graphs.state import Context, State
from understudy.prompt import First

_BY_KIND: dict[str, Literal["transform_document", "transform_table", "transform_code", "instruct"]] = {
    "text": "transform_document",
    "dialogue": "transform_document",
    "table": "transform_table",
    "code": "transform_code",
    "persona": "instruct",
}
_BY_FIRST: dict[First, Literal["write_record", "write_row", "write_labelled", "write_question"]] = {
    "record": "write_record",
    "row": "write_row",
    "label": "write_labelled",
    "answer": "write_question",
}


def by_kind(
    state: State, context: Context
) -> Literal[
    "transform_document", "transform_table", "transform_code", "build_library", "write_record", "write_row",
    "write_labelled", "write_question", "instruct", "commit",
]:  # fmt: skip
    """Each kind of seed has transform agents of its own; a person is not recast; what is about tools wants some."""
    if "status" in state:
        return "commit"
    if (first := state["asked_by"].prompt.first) is not None:
        return _BY_FIRST[first]
    return "build_library" if state["asked_by"].prompt.situation else _BY_KIND[state["seed"].kind]


def after_library(state: State, context: Context) -> Literal["request", "commit"]:
    """Tools are asked for something."""
    return "commit" if "status" in state else "request"


def after_record(state: State, context: Context) -> Literal["write_text", "commit"]:
    """A record wants the text that it stands in."""
    return "commit" if "status" in state else "write_text"


def after_row(state: State, context: Context) -> Literal["write_free_text", "gate", "commit"]:
    """A row whose cells are there may want free text; one that is whole meets the gate."""
    if "status" in state:
        return "commit"
    return "gate" if "draft" in state else "write_free_text"


def after_transform(state: State, context: Context) -> Literal["instruct", "commit"]:
    """A passage is asked about; a failed transformation ends the draft."""
    return "commit" if "status" in state else "instruct"


def after_instruct(state: State, context: Context) -> Literal["gate", "commit"]:
    """An instruction meets the gate."""
    return "commit" if "status" in state else "gate"


def after_gate(
    state: State, context: Context
) -> Literal["answer", "use_tools", "round_trip", "suggest", "noise", "verify", "commit"]:
    """A duplicate is kept on record and costs no more; what answers a request already is not answered."""
    if "status" in state:
        return "commit"
    if (trip := context.recipe.round_trip) is not None:
        return "round_trip" if trip.votes else "verify"
    if "tools" in state:
        return "use_tools"
    return _again(state, context) if "draft" in state else "answer"


def after_round_trip(state: State, context: Context) -> Literal["verify", "commit"]:
    """What was found again is not refined: it fits its label, or its answer."""
    return "commit" if "status" in state else "verify"


def after_tools(state: State, context: Context) -> Literal["verify", "commit"]:
    """A dialogue with tools is not refined: its calls fit its request."""
    return "commit" if "status" in state else "verify"


def after_answer(
    state: State, context: Context
) -> Literal["weigh", "converse", "suggest", "noise", "verify", "commit"]:
    """The first answer makes the draft, or begins a conversation; one to an edited instruction is weighed."""
    if "status" in state:
        return "commit"
    if len(state.get("exchanges", ())) + 1 < state["asked_by"].prompt.turns:
        return "converse"
    return "weigh" if state["round"] else _again(state, context)


def after_suggest(state: State, context: Context) -> Literal["edit", "suggest", "noise", "verify"]:
    """Without a usable suggestion the draft stands as it is."""
    return "edit" if state["ready"] else _again(state, context)


def after_edit(state: State, context: Context) -> Literal["answer", "weigh", "suggest", "noise", "verify"]:
    """A new instruction or passage needs a new answer; a new answer is weighed."""
    if not state["ready"]:
        return _again(state, context)
    return "weigh" if state["editor"].prompt.edits == "answer" else "answer"


def after_weigh(state: State, context: Context) -> Literal["suggest", "noise", "verify", "commit"]:
    """The loop goes on as long as its method has it and rounds are left."""
    return "commit" if "status" in state else _again(state, context)


def _again(state: State, context: Context) -> Literal["suggest", "noise", "verify"]:
    rounds = context.recipe.refine_rounds
    goes_on = state["improved"] and state["round"] < rounds and context.refiners(state)
    if goes_on:
        return "suggest"
    return "verify" if context.recipe.noise is None else "noise"
