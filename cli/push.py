"""`understudy push`: a VM, merged weights or a corpus on the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.screen import visible

_KINDS = ("auto", "model", "dataset")


def push(
    folder: Annotated[Path, typer.Argument(help="A VM, merged weights, or a corpus.", show_default=False)],
    repo: Annotated[
        str, typer.Argument(metavar="REPO_ID", help="Repository on the Hub: owner/name.", show_default=False)
    ],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; else only its owner can.")] = False,
    kind: Annotated[str, typer.Option(help="model, dataset, or auto: by what is in the folder.")] = "auto",
) -> None:
    """Upload a folder to the Hugging Face Hub, without ledger, reviews, pickles and paths of this machine."""
    from understudy.corpus.hub import check_private, chosen, kind_of
    from understudy.corpus.hub import push as upload
    from understudy.errors import UserError

    if kind not in _KINDS:
        raise UserError(f"--kind {kind}", expected=", ".join(_KINDS))
    what = kind_of(folder)
    if kind != "auto" and kind != what:
        raise UserError(f"{folder} holds a {what}, not a {kind}", remedy="leave --kind out")
    check_private(folder)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise UserError("HF_HUB_OFFLINE is set: nothing goes to the Hub", remedy="unset HF_HUB_OFFLINE")
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise UserError(
            "no token for the Hub", remedy="log in with `hf auth login`, or export HF_TOKEN=… with one that may write"
        )
    typer.echo(f"{len(list(chosen(folder, what)))} files of {folder} go to {visible(repo)}")
    address = upload(folder, repo, private=not public, kind=what, api=HfApi(library_name="understudy"))
    typer.echo(f"{visible(address)} ({'public' if public else 'private'})")
