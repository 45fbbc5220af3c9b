"""`understudy train`: a VM from a corpus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.screen import Corpus, clock, console

if TYPE_CHECKING:
    from understudy.training import TrainProgress


def train(
    corpus: Corpus,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the VM goes; a new folder.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, instead of the recipe's.")] = None,
    method: Annotated[str | None, typer.Option(help="`lora` or `full`, instead of the recipe's.")] = None,
    base: Annotated[
        str | None, typer.Option(help="Base model: `embedded` or a folder, instead of the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed, instead of the recipe's.")] = None,
) -> None:
    """Fine-tune the VM on a corpus, with the loss on the answers only."""
    from understudy.errors import UserError
    from understudy.training import train as fine_tune

    if method not in {None, "lora", "full"}:
        raise UserError(f"--method {method}", expected="lora or full")
    started = time.monotonic()

    def watch(progress: TrainProgress) -> None:
        rate = progress.step / (time.monotonic() - started)
        left = (progress.steps - progress.step) / rate
        typer.echo(
            f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}  {progress.tokens:,} tokens  "
            f"ETA {clock(left)}"
        )

    console().print(f"Training on {corpus}")
    chosen = str(Path(base).resolve()) if base not in {None, "embedded"} else base
    trained = fine_tune(corpus, out, watch, steps=steps, method=method, base=chosen, seed=seed)
    aside = f", {trained.too_long} left out as longer than `training.max_tokens`" if trained.too_long else ""
    if trained.with_tools:
        aside += f", {trained.with_tools} with tools left out: they cannot be trained on yet"
    console().print(f"{out}: {trained.method} of {trained.base} on {trained.rows} rows{aside}")
    console().print(f"\nNext:\n  understudy eval {out}")
