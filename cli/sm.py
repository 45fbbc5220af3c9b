"""`understudy sm`: the SM's own training, once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.screen import clock, console, plain_table, visible

if TYPE_CHECKING:
    from understudy.training import TrainProgress
    from understudy.training.sm import Part, TrainedSM


def sm(
    data_sets: Annotated[
        list[Path],
        typer.Argument(metavar="DATASET", help="Files of rows, each a data set of its own.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the SM goes; a new folder.")],
    name: Annotated[str, typer.Option(help="What the SM is called in the records of runs.")],
    base: Annotated[str, typer.Option(help="Base model: `embedded` or a folder.")] = "embedded",
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="A data set to hold out whole, by its file's name; may be repeated. Default: a fifth, drawn."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a sample.")] = 8,
    new: Annotated[int, typer.Option(min=1, help="New rows to write after a sample.")] = 8,
    draws: Annotated[int, typer.Option(min=1, help="Samples to draw of each data set.")] = 32,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another key of a `training:` block, as key=value; may be repeated."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an unfinished training of this --out left.")
    ] = False,
) -> None:
    """Train an SM, once, to continue samples of many data sets; use cases then take it as it is."""
    from understudy.cli.train import changes_of
    from understudy.training.sm import train_sm

    changes = changes_of(set_ or [])
    changes |= {key: value for key, value in (("steps", steps), ("seed", seed)) if value is not None}
    started = time.monotonic()
    begun: list[int] = []

    def watch(progress: TrainProgress) -> None:
        begun.append(progress.step)
        here = progress.step - begun[0]
        left = (time.monotonic() - started) / here * (progress.steps - progress.step) if here else None
        typer.echo(f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}  ETA {clock(left)}")

    made = train_sm(
        data_sets, out, name, base, shown=rows, new=new, draws=draws, held_out=tuple(hold_out or ()), restart=restart,
        seen=_show, watch=watch, **changes,
    )  # fmt: skip
    _tell(made, out)


def _show(learned: tuple[Part, ...], held_out: tuple[Part, ...]) -> None:
    from rich.markup import escape

    table = plain_table("data set", "", "rows", "conversations", "too long", words=2)
    for part, what in [(one, "learned from") for one in learned] + [(one, "held out") for one in held_out]:
        counts = (part.rows, part.conversations, part.too_long)
        table.add_row(escape(visible(part.name)), what, *(f"{count:,}" for count in counts))
    console().print(table)


def _tell(made: TrainedSM, out: Path) -> None:
    gap = made.loss["gap"]
    typer.echo(
        f"held-out data sets: loss {made.loss['base']:.3f} of the base, {made.loss['sm']:.3f} of the SM; SM - base "
        f"{gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f}) on {gap['n']} conversations"
    )
    if gap["high"] >= 0:
        typer.echo("The interval includes zero or worse: on this evidence the SM continues samples no better.")
    typer.echo(f"{out}: {made.name}@{made.weights}, of {made.base}; its files are read-only from now on")
    typer.echo(f"\nNext, in a use case's recipe:\n  sm: {{backend: transformers, path: {out}}}")
