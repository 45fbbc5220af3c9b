"""Routing, as a table; and the graph's shape."""

import pytest

from understudy.agents import load_catalog
from understudy.graphs import build_graph, routes
from understudy.graphs.drawing import mermaid
from understudy.graphs.state import Context, Draft, State
from understudy.nouns import Seed
from understudy.recipe import Recipe, Source

RECIPE = Recipe(name="x", seeds=(Source(path="."),), accept=1)


@pytest.mark.parametrize(
    ("kind", "node"),
    [
        ("text", "transform_document"),
        ("dialogue", "transform_document"),
        ("table", "transform_table"),
        ("code", "transform_code"),
    ],
)
def test_each_kind_of_seed_goes_to_its_own_transformation(kind: str, node: str) -> None:
    asked_by = load_catalog().of("instruct", "text")[0]
    assert routes.by_kind({"seed": Seed.of(kind, "x", "y"), "asked_by": asked_by}, None) == node  # type: ignore[arg-type]
    tools = next(agent for agent in load_catalog().of("instruct", "text") if agent.prompt.situation)
    assert routes.by_kind({"seed": Seed.of(kind, "x", "y"), "asked_by": tools}, None) == "build_library"  # type: ignore[arg-type]


@pytest.mark.parametrize("route", [routes.by_kind, routes.after_transform, routes.after_instruct, routes.after_gate])
def test_a_draft_whose_fate_is_known_goes_to_commit(route: object) -> None:
    assert route({"status": "failed", "seed": Seed.of("text", "x", "y")}, None) == "commit"  # type: ignore[operator]


def test_an_answer_goes_where_its_draft_stands() -> None:
    context = Context(RECIPE, load_catalog(), None, None, None, None)  # type: ignore[arg-type]
    asked_by = load_catalog().of("instruct", "text")[0]
    state: State = {"seed": Seed.of("text", "x", "y"), "asked_by": asked_by, "draft": Draft("Why?", "So.", 1.0)}
    assert routes.after_answer({"status": "failed"}, context) == "commit"
    assert routes.after_answer({**state, "round": 0, "improved": True}, context) == "suggest"
    assert routes.after_answer({**state, "round": 1, "improved": True}, context) == "weigh"
    unanswerable: State = {**state, "draft": Draft("Why?", "So.", 1.0, answerable=False)}
    assert routes.after_answer({**unanswerable, "round": 0, "improved": True}, context) == "verify"


def test_the_drawing_shows_the_loop_and_every_node() -> None:
    drawn = mermaid()
    nodes = set(build_graph().get_graph().nodes) - {"__start__", "__end__"}
    assert all(node in drawn for node in nodes)
    for edge in ("suggest -.-> edit", "edit -.-> weigh", "edit -.-> answer", "gate -.-> commit", "verify --> commit"):
        assert edge.replace("-.->", "-.") in drawn.replace("&nbsp;", "") or edge in drawn
