"""Routing, as a table; and the graph's shape."""

import pytest

from understudy.graphs import build_graph, routes
from understudy.graphs.drawing import mermaid
from understudy.nouns import Seed


@pytest.mark.parametrize(
    ("kind", "node"),
    [
        ("text", "transform_document"),
        ("dialogue", "transform_document"),
        ("table", "transform_table"),
        ("code", "transform_code"),
    ],
)
async def test_each_kind_of_seed_goes_to_its_own_transformation(kind: str, node: str) -> None:
    assert await routes.by_kind({"seed": Seed.of(kind, "x", "y")}) == node  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "route", [routes.by_kind, routes.after_transform, routes.after_instruct, routes.after_gate, routes.after_answer]
)
async def test_a_draft_whose_fate_is_known_goes_to_commit(route: object) -> None:
    assert await route({"status": "failed", "seed": Seed.of("text", "x", "y")}) == "commit"  # type: ignore[operator]


def test_the_drawing_shows_the_loop_and_every_node() -> None:
    drawn = mermaid()
    nodes = set(build_graph().get_graph().nodes) - {"__start__", "__end__"}
    assert all(node in drawn for node in nodes)
    for edge in ("suggest -.-> edit", "edit -.-> weigh", "edit -.-> answer", "gate -.-> commit", "verify --> commit"):
        assert edge.replace("-.->", "-.") in drawn.replace("&nbsp;", "") or edge in drawn
