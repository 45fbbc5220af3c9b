"""The graph as a picture: Mermaid text from LangGraph, PNG or SVG through a layered layout and matplotlib."""

from __future__ import annotations

from pathlib import Path

from langchain_core.runnables.graph import Graph

from understudy.errors import UserError
from understudy.graphs.pipeline import build_graph

_COLOURS = {"persona": "#f4d9b0", "transform": "#cfe3c8", "instruct": "#c8dcef", "gate": "#efc8c8",
            "answer": "#c8dcef", "weigh": "#e6d6ee", "suggest": "#e6d6ee", "edit": "#e6d6ee",
            "verify": "#f2e9b8", "commit": "#d9d9d9"}  # fmt: skip


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
    places = _layout(graph)
    xs, ys = zip(*places.values(), strict=True)
    mpl.rcParams["svg.hashsalt"] = "understudy"  # the same graph gives the same bytes
    figure, axes = plt.subplots(figsize=((max(xs) - min(xs)) / 85 + 2, (max(ys) - min(ys)) / 75 + 1))
    boxes = {}
    for name, (x, y) in places.items():
        label = {"__start__": "seed", "__end__": "corpus"}.get(name, name)
        wide = 9 * len(label) + 16
        boxes[name] = FancyBboxPatch(
            (x - wide / 2, y - 12), wide, 24, boxstyle="round,pad=0,rounding_size=6",
            facecolor=_COLOURS.get(name.split("_")[0], "white"), edgecolor="#333333", linewidth=1, zorder=3,
        )  # fmt: skip
        axes.add_patch(boxes[name])
        axes.text(x, y, label, ha="center", va="center", fontsize=10, zorder=4)
    for edge in graph.edges:
        (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
        # Ways out for drafts that failed or met their twin stay in the background.
        lost = edge.target == "commit" and edge.source != "verify"
        steps = (y1 - y2) / 70
        bend = 0.0 if 0 < steps < 1.5 else (0.2 if x1 <= x2 else -0.2) if steps > 0 else 0.4
        axes.add_patch(
            FancyArrowPatch(
                (x1, y1), (x2, y2), patchA=boxes[edge.source], patchB=boxes[edge.target],
                connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=11, shrinkA=1, shrinkB=1,
                color="#cccccc" if lost else "#333333", linewidth=0.8 if lost else 1.2, zorder=1 if lost else 2,
            )
        )  # fmt: skip
    axes.set_xlim(min(xs) - 110, max(xs) + 110)
    axes.set_ylim(min(ys) - 30, max(ys) + 30)
    axes.axis("off")
    figure.savefig(path, dpi=120, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _layout(graph: Graph) -> dict[str, tuple[float, float]]:
    """Layered positions (Sugiyama), top to bottom."""
    from grandalf.graphs import Edge, Vertex
    from grandalf.graphs import Graph as Plan
    from grandalf.layouts import SugiyamaLayout

    class _View:
        def __init__(self, wide: float) -> None:
            self.w, self.h, self.xy = wide, 24.0, (0.0, 0.0)

    vertices = {name: Vertex(name) for name in graph.nodes}
    for name, vertex in vertices.items():
        vertex.view = _View(9.0 * len(name) + 30)
    edges = [Edge(vertices[edge.source], vertices[edge.target]) for edge in graph.edges]
    plan = Plan(list(vertices.values()), edges)
    layout = SugiyamaLayout(plan.C[0])
    layout.xspace, layout.yspace = 25, 46
    layout.init_all(roots=[vertices["__start__"]])
    layout.draw()
    return {name: (vertex.view.xy[0], -vertex.view.xy[1]) for name, vertex in vertices.items()}
