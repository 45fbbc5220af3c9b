"""The loss curve of a training as a picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.corpus.storage import cache


@contextmanager
def drawing() -> Iterator[Any]:
    """Matplotlib's `Figure`, in a setting in which the same figure gives the same bytes of SVG."""
    os.environ.setdefault("MPLCONFIGDIR", str(cache() / "matplotlib"))
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "understudy", "svg.fonttype": "none"}):
        from matplotlib.figure import Figure

        yield Figure


def draw_losses(losses: tuple[tuple[int, float], ...], path: Path) -> None:
    """Write an SVG of (step, loss)."""
    with drawing() as figure_of:
        figure = figure_of(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot([step for step, _ in losses], [loss for _, loss in losses], "o-", color="#2b6cb0", markersize=3)
        axes.set(xlabel="step", ylabel="training loss", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})
