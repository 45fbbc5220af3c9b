"""`understudy init`: a project to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put it; made if it does not exist.")] = Path(
        "understudy-project"
    ),
) -> None:
    """Write a recipe and a few seeds of each kind, ready to run."""
    import shutil
    from importlib.resources import as_file, files

    from understudy.errors import RunFolderError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError("is not empty", where=str(folder), remedy="name a new or empty folder")
    with as_file(files("understudy.cli") / "starter") as starter:
        shutil.copytree(starter, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    typer.echo(f"Wrote {folder}/ with recipe.yaml and seeds in docs/, tables/ and code/.\n")
    typer.echo(f"  understudy run {folder}/recipe.yaml --dry-run    what it would do, and at what cost")
    typer.echo(f"  understudy run {folder}/recipe.yaml              do it")
