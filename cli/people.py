"""`understudy personas build`, `relate` and `fill`: sets that an SM writes, run and resumed like a corpus."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import personas
from understudy.cli.personas import EmbedderName, Reach, Set
from understudy.cli.screen import console, visible

if TYPE_CHECKING:
    from understudy.graphs import Outcome
    from understudy.graphs.work import Work
    from understudy.recipe import Recipe

app = personas.app
Recipes = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="Whose SM writes, within whose budget.", show_default=False)
]
Folder = Annotated[Path, typer.Option("--out", "-o", help="The folder of the set, and of its run.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on after the forecast without being asked.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as accept=100.")
]
Attributes = Annotated[
    bool, typer.Option("--attributes", help="Ask what is known of each as well: role, domain, expertise, place, age.")
]


@app.command()
def build(
    recipe: Annotated[
        Path, typer.Argument(help="The recipe, whose seeds people are inferred from.", show_default=False)
    ],
    out: Folder,
    domain: Annotated[str, typer.Option(help="What the people have to do with.")] = "",
    attributes: Attributes = False,
    yes: Yes = False,
    settings: Settings = None,
) -> None:
    """Infer a set from seeds: who would read, write, like, dislike or be affected by them."""
    from understudy.graphs import people
    from understudy.recipe_file import load_recipe

    loaded = load_recipe(recipe, tuple(settings or ()))
    loaded, work = people.build(loaded, name=out.name, domain=domain, attributes=attributes)
    console().print(f"[bold]{loaded.name}[/]: {loaded.accept} personas into {out}")
    _conclude(loaded, _run(loaded, out, work, yes, whole_plan=False), f"--seeds {recipe}")


@app.command()
def relate(
    name: Set,
    recipe: Recipes,
    out: Folder,
    hops: Annotated[int, typer.Option(min=1, max=6, help="How many relations away.")] = 1,
    relatives: Annotated[int, typer.Option(min=1, help="How many relatives of each.")] = 2,
    relations: Annotated[
        Path | None, typer.Option(help="Your own types of relation, in YAML.", show_default=False)
    ] = None,
    attributes: Attributes = False,
    yes: Yes = False,
    settings: Settings = None,
) -> None:
    """Add people who are related to those of a set: colleagues, customers, critics."""
    from understudy.graphs import people
    from understudy.personas import load_set
    from understudy.recipe_file import load_recipe

    loaded, work = people.relate(
        load_recipe(recipe, tuple(settings or ())),
        dataclasses.replace(load_set(name), name=out.name),
        hops=hops,
        relatives=relatives,
        relations=relations,
        attributes=attributes,
    )
    console().print(f"[bold]{out.name}[/]: at most {loaded.accept:,} relatives into {out}")
    _conclude(loaded, _run(loaded, out, work, yes), f"--seeds {recipe}")


@app.command()
def fill(
    name: Set,
    recipe: Recipes,
    out: Folder,
    topics: Annotated[
        Path | None,
        typer.Option(help="The domain: a topic on each line; default: the recipe's seeds.", show_default=False),
    ] = None,
    reach: Reach = None,
    tries: Annotated[int, typer.Option(min=1, help="How often it is tried for each gap.")] = 4,
    attributes: Attributes = False,
    embedder: EmbedderName = "embedded",
    yes: Yes = False,
    settings: Settings = None,
) -> None:
    """Add people for the gaps: topics of a domain that nobody in a set is near to."""
    from understudy.corpus import read_sources
    from understudy.graphs import people
    from understudy.models import open_embedder
    from understudy.personas import coverage, load_set
    from understudy.recipe_file import load_recipe

    loaded, base = load_recipe(recipe, tuple(settings or ())), load_set(name)
    domain = coverage.topics_in(topics) if topics else coverage.topics_of([seed for _, seed in read_sources(loaded)])
    within = coverage.REACH if reach is None else reach
    opened = open_embedder(embedder)
    found = coverage.cover(base, domain, opened, within)
    screen = console()
    if not found.gaps:
        screen.print(f"No gaps: each of {len(domain):,} topics has somebody within {within:g}.")
        return
    gaps = [gap.topic for gap in found.gaps]
    named = dataclasses.replace(base, name=out.name)
    loaded, work = people.fill(loaded, named, gaps, within, opened, tries=tries, attributes=attributes)
    screen.print(f"[bold]{out.name}[/]: {len(gaps):,} gaps of {len(domain):,} topics to fill, into {out}")
    outcome = _run(loaded, out, work, yes)
    left = coverage.cover(load_set(str(out)), domain, opened, within).gaps
    screen.print(f"{len(gaps) - len(left):,} of {len(gaps):,} gaps are filled.")
    for gap in left[:_LEFT]:
        screen.print(f"  gap  {gap.similarity:.2f}  {visible(gap.topic.name)}", markup=False)
    if len(left) > _LEFT:
        screen.print(f"  and {len(left) - _LEFT:,} more: understudy personas cover {out}", style="dim", markup=False)
    _conclude(loaded, outcome, f"--topics {topics}" if topics else f"--seeds {recipe}")


_LEFT = 20


def _run(recipe: Recipe, out: Path, work: Work, yes: bool, *, whole_plan: bool = True) -> Outcome:
    from understudy.cli.run import Watch
    from understudy.graphs import run as generate

    with Watch(yes, whole_plan=whole_plan) as watch:
        outcome = generate(recipe, out, watch, watch.ask, work=work)
    if whole_plan and outcome.ended == "turns":
        return dataclasses.replace(outcome, ended="goal", detail="the whole plan was gone through")
    return outcome


def _conclude(recipe: Recipe, outcome: Outcome, domain: str) -> None:
    from understudy.cli.run import conclude

    out = outcome.folder
    cover = f"understudy personas cover {out} {domain} --out map.html"
    steps = [f"understudy personas show {out}", cover, f"understudy report {out}"]
    conclude(recipe, outcome, shlex.join(["understudy", *sys.argv[1:]]), steps)
