"""The graph as a picture: Mermaid text from LangGraph, PNG or SVG by matplotlib."""

from __future__ import annotations

from pathlib import Path

from understudy.errors import UserError
from understudy.graphs.pipeline import build_graph

_COLOURS = {"persona": "#f4d9b0", "transform": "#cfe3c8", "instruct": "#c8dcef", "gate": "#efc8c8",
            "answer": "#c8dcef", "weigh": "#e6d6ee", "suggest": "#e6d6ee", "edit": "#e6d6ee",
            "request": "#c8dcef", "write": "#c8dcef", "build": "#cfe3c8", "converse": "#c8dcef", "use": "#c8dcef",
            "round": "#f2e9b8", "noise": "#e6d6ee", "verify": "#f2e9b8", "commit": "#d9d9d9"}  # fmt: skip


def mermaid() -> str:
    """The compiled graph in Mermaid's language."""
    return build_graph().get_graph().draw_mermaid()


def draw(path: Path) -> None:
    """Draw the graph into a .png or .svg file.

    Raises:
        UserError: for another suffix, or a folder that does not exist.
    """
    if path.suffix.lower() not in {".png", ".svg"}:
        raise UserError(
            f"cannot draw a {path.suffix or 'file without suffix'}", where=str(path), expected=".png or .svg"
        )
    if not path.parent.is_dir():
        raise UserError("no such folder", where=str(path.parent), remedy="make it first")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    graph = build_graph().get_graph()
    edges = [(edge.source, edge.target) for edge in graph.edges]
    places = _layout(list(graph.nodes), edges)
    mpl.rcParams["svg.hashsalt"] = "understudy"  # the same graph gives the same bytes
    figure, axes = plt.subplots(figsize=(12.5, 8.4))
    boxes = {}
    for name, (x, y) in places.items():
        label = {"__start__": "seed", "__end__": "corpus"}.get(name, name)
        wide = 0.15 * len(label) + 0.3
        boxes[name] = FancyBboxPatch(
            (x - wide / 2, y - 0.24), wide, 0.48, boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=_COLOURS.get(name.split("_")[0], "white"), edgecolor="#333333", linewidth=1, zorder=3,
        )  # fmt: skip
        axes.add_patch(boxes[name])
        axes.text(x, y, label, ha="center", va="center", fontsize=9, zorder=4)
    for source, target in edges:
        (x1, y1), (x2, y2) = places[source], places[target]
        # Ways out for drafts that failed or met their twin stay in the background.
        lost = target == "commit" and source != "verify"
        # Ways out bow to the left (those from the right, to the right), ways back to the left of the loop.
        bend = 0.0 if y1 - y2 == 1 else -0.75 if y2 > y1 else (0.5 if x1 <= 0 else -0.35) if lost else -0.75
        axes.add_patch(
            FancyArrowPatch(
                (x1, y1), (x2, y2), patchA=boxes[source], patchB=boxes[target],
                connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=11, shrinkA=1, shrinkB=1,
                color="#cccccc" if lost else "#333333", linewidth=0.8 if lost else 1.2, zorder=1 if lost else 2,
            )
        )  # fmt: skip
    reach = max(abs(x) for x, _ in places.values()) + 1.6
    axes.set_xlim(-reach, reach)
    axes.set_ylim(min(y for _, y in places.values()) - 0.5, 0.5)
    axes.axis("off")
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _layout(nodes: list[str], edges: list[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Each node one row below the lowest that leads to it; rows are centred, ways back are not counted."""
    order = {name: place for place, name in enumerate(nodes)}
    row = dict.fromkeys(nodes, 0)
    for source in nodes:
        for start, target in edges:
            if start == source and order[target] > order[source]:
                row[target] = max(row[target], row[source] + 1)
    places = {}
    for name in nodes:
        beside = [other for other in nodes if row[other] == row[name]]
        places[name] = (2.9 * (beside.index(name) - (len(beside) - 1) / 2), -float(row[name]))
    return places
