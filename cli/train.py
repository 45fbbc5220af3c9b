"""`understudy train`: a VM from a corpus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import clock, console

if TYPE_CHECKING:
    from understudy.training import Preflight, TrainProgress

_BARS = "▁▂▃▄▅▆▇█"
# Set in the environment of the processes that accelerate starts.
_LAUNCHED = "UNDERSTUDY_LAUNCHED"


def train(
    source: Annotated[
        Path,
        typer.Argument(
            help="A corpus folder; or a recipe whose `training.data` names files alone.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the VM goes; a new folder.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps, instead of the recipe's.")] = None,
    method: Annotated[
        str | None, typer.Option(help="`lora`, `rslora`, `dora` or `full`, instead of the recipe's.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base model: `embedded` or a folder, instead of the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed, instead of the recipe's.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="`corpus`, or a file of rows, instead of the recipe's `training.data`; may be repeated."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another key of the `training:` block, as key=value; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be learned from; load no model.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an unfinished training of this --out left.")
    ] = False,
) -> None:
    """Train the VM on a corpus; the same command again goes on where it was stopped."""
    from understudy.training import check
    from understudy.training import train as fit
    from understudy.training.job import first

    changes = changes_of(set_ or [])
    changes |= {"steps": steps, "method": method, "seed": seed, "base": _absolute(base)}
    changes |= {"data": tuple(str(_absolute(one)) for one in data) if data else None}
    plan, figures = check(source, **changes)
    if first():
        _show(figures)
    if dry_run:
        return
    if plan.accelerate and _launch(plan.accelerate, source):
        return
    started = time.monotonic()
    begun: list[int] = []
    losses: list[float] = []

    def watch(progress: TrainProgress) -> None:
        begun.append(progress.step)
        losses.append(progress.loss)
        here = progress.step - begun[0]
        left = (time.monotonic() - started) / here * (progress.steps - progress.step) if here else None
        typer.echo(
            f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}  {progress.tokens:,} tokens  "
            f"ETA {clock(left)}"
        )

    if first():
        console().print(f"Training on {source}")
    trained = fit(source, out, watch, restart=restart, **changes)
    if not first():
        return
    speed = f", {trained.tokens_per_second:,.0f} tokens a second" if trained.tokens_per_second else ""
    console().print(f"loss {_sparkline(losses)}{speed}")
    console().print(f"{out}: {trained.objective}, {trained.method}, of {trained.base} on {trained.rows} rows")
    if trained.objective in {"sft", "dpo", "simpo"}:
        console().print(f"\nNext:\n  understudy eval {out}\n  understudy chat {out}")


def changes_of(overrides: list[str]) -> dict[str, Any]:
    """`key=value` pairs as changes to the `training:` block.

    Raises:
        RecipeError: for one that is no such pair, or whose key is unknown.
    """
    import difflib

    import yaml

    from understudy.errors import RecipeError
    from understudy.lessons import Training

    changes: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        key = key.removeprefix("training.")
        if not equals:
            raise RecipeError(f"--set {override}", expected="key=value, such as rank=8")
        if key not in Training.model_fields:
            known = sorted(Training.model_fields)
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            remedy = f"did you mean `{near[0]}`?" if near else None
            raise RecipeError(
                "unknown key", where=f"--set {override}", expected=f"one of: {', '.join(known)}", remedy=remedy
            )
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"not valid YAML: {value!r}", where=f"--set {override}") from error
    return changes


def _absolute(path: str | None) -> str | None:
    """What the command line names is relative to where one stands, not to the recipe."""
    return path if path in {None, "embedded", "corpus"} else str(Path(str(path)).expanduser().resolve())


def _show(figures: Preflight) -> None:
    """The preflight: lengths as bars, and what the loss is on."""
    learned = f", {figures.learned:,} of them learned" if figures.learned is not None else ""
    screen = console()
    screen.print(
        f"{figures.rows:,} rows, {figures.tokens:,} tokens{learned}; {figures.too_long:,} left out as longer than "
        f"{figures.max_tokens} tokens ({figures.left_out_share:.1%}), none cut"
    )
    most = max(count for _, count in figures.histogram)
    for upto, count in figures.histogram:
        if count:
            screen.print(f"  up to {upto:>6} tokens {count:>8,} {'█' * max(1, round(30 * count / most))}")
    if figures.unended:
        screen.print(f"[yellow]{figures.unended} rows do not end with the end-of-turn token in the loss.[/]")


def _sparkline(losses: list[float]) -> str:
    """Losses as a row of bars, from the first to the last."""
    if not losses:
        return ""
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0
    bars = "".join(_BARS[round((loss - low) / span * (len(_BARS) - 1))] for loss in losses)
    return f"{losses[0]:.3f} {bars} {losses[-1]:.3f}"


def _launch(configuration: str, source: Path) -> bool:
    """Start this command once for each device, by accelerate; False: this process is one of those."""
    import os
    import subprocess
    import sys

    from understudy.errors import RecipeError

    if _LAUNCHED in os.environ:
        return False
    import importlib.util

    trl = importlib.util.find_spec("trl")
    shipped = Path(str(trl and trl.origin)).parent / "accelerate_configs"
    near = (source.parent if source.is_file() else Path()) / configuration
    path = next((one for one in (near, shipped / f"{configuration}.yaml") if one.is_file()), None)
    if path is None:
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        raise RecipeError(
            f"no configuration of accelerate `{configuration}`", where="training.accelerate",
            expected=f"a file, or one of: {names}",
        )  # fmt: skip
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path)]
    own = {**os.environ, _LAUNCHED: "1"}
    done = subprocess.run([*launcher, *sys.argv], check=False, env=own)  # noqa: S603
    if done.returncode:  # what was wrong was said by the processes themselves
        raise typer.Exit(done.returncode)
    return True
