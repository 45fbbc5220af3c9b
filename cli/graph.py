"""`understudy graph`: the state machine as Mermaid, PNG or SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def graph(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Draw it to a .png or .svg file.")] = None,
) -> None:
    """Print the graph as Mermaid, or draw it."""
    from understudy.graphs.drawing import draw, mermaid

    if out is None:
        typer.echo(mermaid())
        return
    draw(out)
    typer.echo(f"Wrote {out}")
