"""`understudy agents`: who is in the cast, family by family and skill by skill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.screen import AsJson, console, plain_table, visible

if TYPE_CHECKING:
    from understudy.agents import Agent


def agents(
    name: Annotated[str | None, typer.Argument(help="A family or a skill, to see who is in it.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="A folder of your own prompt files, added to the shipped ones.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List agents by family and skill; every prompt file is checked on the way."""
    import json

    from understudy.agents import WHOLE_CAST, load_catalog, load_skills

    catalog, skills = load_catalog(WHOLE_CAST, folder), load_skills(folder)
    groups: dict[str, list[Agent]] = {family: list(members) for family, members in catalog.agents.items()}
    leaves = {skill: [one for one in groups["instruct"] if one.prompt.skill == skill] for skill in skills}
    if as_json:
        listed = [
            {"name": one.name, "skill": one.prompt.skill, "kinds": one.prompt.kinds, "summary": one.prompt.summary}
            for one in catalog
        ]
        typer.echo(json.dumps({"skills": skills, "agents": listed}))
        return
    screen = console()
    if name is not None:
        _show(name, {**groups, **leaves})
        return
    families = plain_table("family", "agents")
    for family, members in groups.items():
        families.add_row(family, str(len(members)))
    screen.print(families)
    table = plain_table("skill", "what it is", "kinds", "leaves", words=3)
    for skill, what in skills.items():
        kinds = sorted({kind for one in leaves[skill] for kind in one.prompt.kinds})
        table.add_row(visible(skill), visible(what), ", ".join(kinds), str(len(leaves[skill])))
    screen.print(table)
    if alone := sum(one.prompt.skill is None for one in groups["instruct"]):
        screen.print(f"{alone} instruct agents belong to no skill")


def _show(name: str, groups: dict[str, list[Agent]]) -> None:
    import difflib

    from understudy.errors import PromptError

    if name not in groups:
        near = difflib.get_close_matches(name, groups, n=1, cutoff=0.5)
        raise PromptError(
            f"no family and no skill is called `{name}`",
            expected=f"one of: {', '.join(groups)}",
            remedy=f"did you mean `{near[0]}`?" if near else None,
        )
    table = plain_table("agent", "kinds", "what it does", words=3)
    for one in groups[name]:
        table.add_row(visible(one.prompt.name), ", ".join(one.prompt.kinds), visible(one.prompt.summary))
    console().print(table)
