"""The graph: how one draft gets from seed to example."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, get_args, get_type_hints

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from understudy.graphs import (
    answering,
    conversing,
    inverting,
    labelling,
    nodes,
    noising,
    questioning,
    refining,
    routes,
    rows,
    solving,
    tooling,
)
from understudy.graphs.nodes import Node
from understudy.graphs.state import Context, State

Route = Callable[[State, Context], str]
"""Says which node is next; its return annotation lists all that it may name."""


def build_graph() -> CompiledStateGraph[State, Context, Any, Any]:
    """Compile the graph, without a checkpointer: the journal is what a resumed run reads."""
    graph = StateGraph(State, context_schema=Context)

    def add(name: str, node: Node, route: Route) -> None:
        ways = get_args(get_type_hints(route)["return"])
        graph.add_node(name, routed(node, route), destinations=ways)

    graph.add_edge(START, "persona")
    add("persona", nodes.persona, routes.by_kind)
    add("transform_document", nodes.transform, routes.after_transform)
    add("transform_table", nodes.transform, routes.after_transform)
    add("transform_code", nodes.transform, routes.after_transform)
    add("build_library", tooling.build_library, routes.after_library)
    add("request", tooling.request, routes.after_instruct)
    add("write_record", inverting.write_record, routes.after_record)
    add("write_text", inverting.write_text, routes.after_instruct)
    add("write_row", rows.write_row, routes.after_row)
    add("write_free_text", rows.write_free_text, routes.after_instruct)
    add("write_labelled", labelling.write_labelled, routes.after_instruct)
    add("write_question", questioning.write_question, routes.after_instruct)
    add("instruct", nodes.instruct, routes.after_instruct)
    add("gate", nodes.gate, routes.after_gate)
    add("round_trip", solving.round_trip, routes.after_round_trip)
    add("answer", answering.answer, routes.after_answer)
    add("converse", conversing.converse, routes.after_answer)
    add("use_tools", tooling.use_tools, routes.after_tools)
    add("weigh", refining.weigh, routes.after_weigh)
    add("suggest", refining.suggest, routes.after_suggest)
    add("edit", refining.edit, routes.after_edit)
    graph.add_node("noise", noising.noise)
    graph.add_edge("noise", "verify")
    graph.add_node("verify", nodes.verify)
    graph.add_node("commit", nodes.commit)
    graph.add_edge("verify", "commit")
    graph.add_edge("commit", END)
    return graph.compile(name="understudy")


def routed(node: Node, route: Route) -> Callable[..., Any]:
    """A node that also says where the draft goes next.

    For a conditional edge LangGraph reads the whole state once more: half as much again as the step itself.
    """

    @wraps(node)
    async def step(state: State, runtime: Runtime[Context]) -> Command[str]:
        update = await node(state, runtime)
        merged: State = {**state, **update}  # type: ignore[typeddict-item]
        return Command(update=update, goto=route(merged, runtime.context))

    return step
