"""`understudy check`: whether pinned examples still come out as expected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.screen import AsJson, console, plain_table, visible


def check(
    recipe: Annotated[Path, typer.Argument(help="A recipe with a folder `cases` beside it.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Send the pinned examples of a recipe through the graph again; no model is asked.

    Exits with 1 when one does not come out as expected.
    """
    import asyncio
    import json

    from understudy.graphs.replay import replay
    from understudy.recipe_file import load_recipe

    found = asyncio.run(replay(load_recipe(recipe)))
    broken = [one for one in found if not one.holds]
    if as_json:
        told = [
            {"case": str(one.path), "example": one.case.example, "holds": one.holds, "told": one.told} for one in found
        ]
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        table = plain_table("pinned example", "expected", "", words=3)
        for one in found:
            table.add_row(one.path.stem, one.case.status, "as expected" if one.holds else visible(one.told))
        console().print(table)
        for one in broken:
            if one.case.note:
                console().print(f"{one.path.stem}: {visible(one.case.note)}", markup=False)
        console().print(f"{len(found) - len(broken)} of {len(found)} come out as expected.")
    if broken:
        raise typer.Exit(1)
