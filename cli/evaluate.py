"""`understudy eval`: the VM against its base on held-out examples."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.screen import AsJson, console, plain_table

# Below this many, a bootstrap sees too little of the spread to be trusted.
_FEW = 20


def evaluate(
    vm: Annotated[Path, typer.Argument(help="A VM folder, as `understudy train` writes it.", show_default=False)],
    corpus: Annotated[
        Path | None, typer.Option(help="Corpus whose test split to use; default: the one the VM was trained on.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most held-out examples to measure.")] = 200,
    answers: Annotated[int, typer.Option(min=0, help="How many of them to answer for the task score.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Compare the VM with its base on held-out examples."""
    import json
    from itertools import islice

    from understudy.corpus import RunFolder
    from understudy.corpus.rows import messages
    from understudy.errors import RunFolderError
    from understudy.evals.heldout import Models, compare
    from understudy.training.sft import read_lineage

    lineage = read_lineage(vm)
    source = corpus or Path(lineage.corpus)
    with RunFolder.read(source) as folder:
        held_out = {row["id"]: messages(row) for row in islice(folder.rows("accepted", "test"), limit)}
        changed = corpus is None and folder.digest != lineage.corpus_digest
    if not held_out:
        raise RunFolderError(
            "has no test split", where=str(source), remedy="generate more examples, or raise `test_share` in the recipe"
        )
    if not Path(lineage.base_path).is_dir():
        raise RunFolderError(
            "the VM's base model is gone", where=lineage.base_path, remedy="put it back, or train again"
        )

    def watch(what: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r{what}: {done}/{total}  ", err=True, nl=done == total)

    found = compare(Models(Path(lineage.base_path), vm), held_out, generate=answers, watch=watch)
    (vm / "eval.json").write_text(json.dumps(asdict(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    screen = console()
    if changed:
        screen.print("[yellow]The corpus has changed since this VM was trained on it.[/]")
    table = plain_table(f"on {len(held_out)} held-out examples", "base", "VM", "VM - base (95 % interval)")
    for name, scores in (("loss of the answers (lower is better)", found.loss), ("token F1 of the answers", found.f1)):
        if scores:
            gap = scores.gap
            table.add_row(
                name, f"{scores.base:.3f}", f"{scores.vm:.3f}", f"{gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
            )
    screen.print(table)
    verdict = (
        "The VM's held-out loss is below its base's." if found.improved else
        "The interval includes zero or worse: on this evidence the VM is not better than its base."
    )  # fmt: skip
    screen.print(verdict)
    if len(held_out) < _FEW:
        screen.print(f"[yellow]{len(held_out)} examples are few: the intervals are narrower than they should be.[/]")
    screen.print(f"Every example's loss and the answers side by side: {vm / 'eval.json'}", soft_wrap=True)
