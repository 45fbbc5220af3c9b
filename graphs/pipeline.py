"""The graph: how one draft gets from seed to example."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from understudy.graphs import nodes, routes
from understudy.graphs.state import Context, State


def build_graph() -> CompiledStateGraph[State, Context, Any, Any]:
    """Compile the graph, without a checkpointer: the journal is what a resumed run reads."""
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("persona", nodes.persona)
    graph.add_node("transform_document", nodes.transform)
    graph.add_node("transform_table", nodes.transform)
    graph.add_node("transform_code", nodes.transform)
    graph.add_node("instruct", nodes.instruct)
    graph.add_node("gate", nodes.gate)
    graph.add_node("answer", nodes.answer)
    graph.add_node("weigh", nodes.weigh)
    graph.add_node("suggest", nodes.suggest)
    graph.add_node("edit", nodes.edit)
    graph.add_node("verify", nodes.verify)
    graph.add_node("commit", nodes.commit)

    graph.add_edge(START, "persona")
    graph.add_conditional_edges("persona", routes.by_kind)
    for transform in ("transform_document", "transform_table", "transform_code"):
        graph.add_conditional_edges(transform, routes.after_transform)
    graph.add_conditional_edges("instruct", routes.after_instruct)
    graph.add_conditional_edges("gate", routes.after_gate)
    graph.add_conditional_edges("answer", routes.after_answer)
    graph.add_conditional_edges("weigh", routes.after_weigh)
    graph.add_conditional_edges("suggest", routes.after_suggest)
    graph.add_conditional_edges("edit", routes.after_edit)
    graph.add_edge("verify", "commit")
    graph.add_edge("commit", END)
    return graph.compile(name="understudy")
