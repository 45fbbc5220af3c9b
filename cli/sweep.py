"""`understudy sweep`: several trainings of one corpus, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import AsJson, Corpus, console, plain_table

if TYPE_CHECKING:
    from understudy.training import TrainProgress

_CURVE = (0.125, 0.25, 0.5, 1.0)


def sweep(
    corpus: Corpus,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the trainings and the page go.")],
    over: Annotated[
        list[str] | None,
        typer.Option(help="A key of `training:` and its values, such as method=lora,full; may be repeated."),
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="The same as --over share=0.125,0.25,0.5,1: does more data pay?")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A key of `training:` for all of them, as key=value.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train every combination of some values, score all alike, and draw one page; the same command again goes on."""
    import json

    from understudy.cli.train import changes_of
    from understudy.errors import UserError
    from understudy.training.sweep import sweep as run
    from understudy.training.sweep_page import write_page

    varied = values_of(over or [])
    if curve:
        varied["share"] = _CURVE
    if not varied:
        raise UserError("nothing to vary", expected="--over key=value,value, or --curve")

    def watch(progress: TrainProgress) -> None:
        if not as_json:
            typer.echo(f"  step {progress.step}/{progress.steps}  loss {progress.loss:.3f}")

    found = run(corpus, out, varied, changes_of(set_ or []), lambda line: typer.echo(line, err=as_json), watch)
    write_page(found, out / "index.html")
    if as_json:
        typer.echo((out / "sweep.json").read_text())
        return
    screen = console()
    table = plain_table("training", "rows", "held-out loss", "minus base (95 %)")
    for arm in found.arms:
        gain = found.gain(arm)
        table.add_row(
            arm.name, f"{arm.rows:,}", f"{arm.loss:.3f}", f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        )
    screen.print(table)
    for rest, law in found.growths():
        label = ", ".join(f"{key}={json.dumps(value)}" for key, value in rest.items())
        screen.print(
            f"{label + ': ' if label else ''}{law.verdict}: twice the {law.rows:,} rows would lower the loss by "
            f"{law.gain:.3f} ({law.low:.3f} to {law.high:.3f})"
        )
    screen.print(f"All of it as a page: {out / 'index.html'}", soft_wrap=True)


def values_of(options: list[str]) -> dict[str, tuple[Any, ...]]:
    """`key=value,value` options as keys with their values.

    Raises:
        RecipeError: for an unknown key, or a key without values.
    """
    import yaml

    from understudy.cli.train import changes_of
    from understudy.errors import RecipeError

    out: dict[str, tuple[Any, ...]] = {}
    for option in options:
        key, _, given = option.partition("=")
        changes_of([f"{key}=0"])  # knows the keys
        values = tuple(yaml.safe_load(f"[{given}]"))
        if not values or len(set(map(str, values))) < len(values):
            raise RecipeError(f"--over {option}", expected="different values with commas, such as method=lora,full")
        out[key] = values
    return out
