"""`understudy personas`: what sets there are, and who is in them."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.screen import AsJson, console, plain_table


def personas(
    name: Annotated[
        str | None, typer.Argument(help="A shipped set, or the path of a YAML set.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List persona sets, or show one."""
    import json
    from dataclasses import asdict

    from understudy.personas import load_set, shipped_sets

    if name is None:
        sets = [load_set(shipped) for shipped in shipped_sets()]
        if as_json:
            typer.echo(
                json.dumps([{"name": s.name, "description": s.description, "personas": len(s.personas)} for s in sets])
            )
            return
        table = plain_table("set", "what it is", "personas", words=2)
        for one in sets:
            table.add_row(one.name, one.description, str(len(one.personas)))
        console().print(table)
        return
    chosen = load_set(name)
    if as_json:
        typer.echo(json.dumps([asdict(persona) for persona in chosen.personas], ensure_ascii=False))
        return
    console().print(
        f"[bold]{chosen.name}[/]  {chosen.description}  ({len(chosen.personas)} personas, {chosen.license})"
    )
    for persona in chosen.personas:
        console().print(f"  {persona.id[:8]}  {persona.text}", markup=False)
