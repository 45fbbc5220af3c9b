"""`understudy export`: a corpus as a file for a trainer, or for reviewers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.screen import Corpus, console

# What a form has beside the file; see `understudy.corpus.companions`.
_BESIDE = {
    "llama-factory": "dataset_info.json",
    "llama-factory-preference": "dataset_info.json",
    "axolotl": "axolotl.yaml",
}


def export(
    corpus: Corpus,
    file: Annotated[
        Path,
        typer.Argument(
            help="The file to write: .jsonl or .parquet for most forms; .csv for rows; .json for reviewers."
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="chat, prompt-completion, reviewed (what people accepted or edited), preference (pairs of answers),"
            " versions (all that were kept), stepwise; sharegpt, openai, llama-factory, llama-factory-preference or"
            " axolotl (for these); rows (cells of a table, with weights); argilla or label-studio (to review there).",
        ),
    ] = "chat",
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    seed: Annotated[int, typer.Option(help="Of the order, in which neighbours differ.")] = 0,
) -> None:
    """Write a corpus for a trainer, in an order in which neighbours differ, or for reviewers."""
    from understudy.corpus import RunFolder
    from understudy.corpus.export import FORMS
    from understudy.corpus.export import export as write
    from understudy.errors import UserError

    if form not in FORMS:
        raise UserError(f"--as {form}", expected=", ".join(FORMS))
    if split not in {"train", "test"}:
        raise UserError(f"--split {split}", expected="train or test")
    with RunFolder.read(corpus) as folder:
        count = write(folder, file, form, split=split, seed=seed)
    console().print(f"{count:,} rows in {file}")
    if beside := _BESIDE.get(form):
        console().print(f"and beside it {file.with_name(beside)}", soft_wrap=True)
