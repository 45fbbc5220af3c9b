"""`understudy lineage` and `understudy blame`: from a VM back to what it was made of."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.screen import AsJson, console, plain_table, visible

VM = Annotated[Path, typer.Argument(help="A VM folder, as `understudy train` writes it.", show_default=False)]
# How much of a text a line of `blame` shows.
_SHOWN = 300


def lineage(vm: VM, as_json: AsJson = False) -> None:
    """Print where a VM came from: base, training, corpus, recipe, models, seeds."""
    import json

    from understudy.training.ancestry import ancestry

    found = ancestry(vm)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    trained = found.trained
    speed = f", {trained.tokens_per_second:,.0f} a second" if trained.tokens_per_second else ""
    told = {
        "VM": str(vm),
        "base": f"{trained.base} ({found.base_is})",
        "training": f"{trained.objective}, {trained.method}, {trained.steps} steps, rate {trained.learning_rate:g}, "
        f"seed {trained.seed}",
        "learned from": f"{found.learned:,} rows, {trained.tokens:,} tokens with repetitions{speed}",
        "corpus": f"{trained.corpus} ({found.corpus_is}), digest {trained.corpus_digest}" if trained.corpus else "none",
        **{f"file {place}": " ".join(file) for place, file in enumerate(trained.files.items(), start=1)},
        "recipe": f"{trained.recipe}, version {trained.recipe_version}",
        "written by": ", ".join(found.sms) or "not known",
    }
    if trained.merged_from:
        told["merged from"] = trained.merged_from
    screen = console()
    for name, value in told.items():
        screen.print(f"{name:<13} {visible(value)}", soft_wrap=True, markup=False)
    if found.seeds:
        table = plain_table("seeds from", "licence", "seeds", "learned rows", words=2)
        for name, count, made, licence in found.seeds:
            table.add_row(visible(name), visible(licence), f"{count:,}", f"{made:,}")
        screen.print(table, markup=False)


def blame(
    vm: VM,
    prompt: Annotated[str, typer.Argument(help="What the VM was asked.", show_default=False)],
    answer: Annotated[
        str | None, typer.Option(help="What it answered; left out, it is asked now.", show_default=False)
    ] = None,
    most: Annotated[int, typer.Option("--top", min=1, help="How many training examples to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Find the training examples that lie nearest to an answer, by the meaning of prompt and answer."""
    import json

    from understudy.models.embedder import open_embedder
    from understudy.training.ancestry import blame as find
    from understudy.training.lineage import read_lineage, read_speaker

    trained = read_lineage(vm) if answer is not None else read_speaker(vm)
    said = answer if answer is not None else _answer(vm, Path(trained.base_path), prompt)
    suspects = find(vm, prompt, said, open_embedder("embedded"), most)
    if as_json:
        typer.echo(json.dumps({"answer": said, "nearest": [asdict(one) for one in suspects]}, ensure_ascii=False))
        return
    screen = console()
    screen.print(f"asked:    {_short(prompt)}\nanswered: {_short(said)}\n", markup=False)
    for place, one in enumerate(suspects, 1):
        screen.print(f"{place}. {one.similarity:.2f}  {one.id}  {visible(one.source)}", markup=False, soft_wrap=True)
        screen.print(f"   asked:    {_short(one.prompt)}\n   answered: {_short(one.answer)}", markup=False)
        if one.traced:
            example = one.id.partition(".")[0]
            screen.print(f"   trace:    understudy traces {trained.corpus} {example}", markup=False, soft_wrap=True)


def _answer(vm: Path, base: Path, prompt: str) -> str:
    """The VM's greedy answer."""
    from understudy.evals.answering import Models, Prompt

    asked = Prompt(({"role": "user", "content": prompt},))
    models = Models(base, vm)
    with models.as_vm() as model:
        ((said,),) = models.answering(model).answers([asked], max_new_tokens=200)
    return str(said)


def _short(text: str) -> str:
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= _SHOWN else flat[:_SHOWN] + "…"
