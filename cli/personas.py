"""`understudy personas`: what sets there are, who is in them, and making one out of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.screen import AsJson, console, plain_table, visible

app = typer.Typer(help="List persona sets, look into them, and make one out of others.")
Set = Annotated[str, typer.Argument(metavar="SET", help="A shipped set, a YAML file, or a folder.", show_default=False)]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", help="Where the set goes: a .yaml file, or a folder of Parquet.", show_default=False),
]
EmbedderName = Annotated[str, typer.Option(help="`embedded`, `hashing`, or a sentence-transformers folder.")]
Reach = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="The least cosine at which a persona covers a topic; default: 0.36.", show_default=False
    ),
]
# More would scroll past; the rest is in --json.
_SHOWN = 200
_GAPS = 20


@app.callback(invoke_without_command=True)
def personas(context: typer.Context, as_json: AsJson = False) -> None:
    """List persona sets."""
    if context.invoked_subcommand:
        return
    import json

    from understudy.personas import load_set, shipped_sets

    sets = [load_set(shipped) for shipped in shipped_sets()]
    if as_json:
        listed = [{**one.card, "version": one.version, "personas": len(one.personas)} for one in sets]
        typer.echo(json.dumps(listed, ensure_ascii=False))
        return
    table = plain_table("set", "what it is", "personas", words=2)
    for one in sets:
        table.add_row(one.name, one.description, str(len(one.personas)))
    console().print(table)


@app.command()
def show(name: Set, as_json: AsJson = False) -> None:
    """Show a set: its card, and who is in it."""
    import json
    from dataclasses import asdict

    from understudy.personas import load_set

    chosen = load_set(name)
    if as_json:
        said = {**chosen.card, "version": chosen.version, "personas": [asdict(one) for one in chosen.personas]}
        typer.echo(json.dumps(said, ensure_ascii=False))
        return
    screen = console()
    screen.print(f"{visible(chosen.name)}  {visible(chosen.description)}", markup=False)
    facts = (f"{len(chosen.personas):,} personas", f"version {chosen.version[:12]}", chosen.license, chosen.domain)
    screen.print(", ".join(visible(fact) for fact in facts if fact), style="dim", markup=False)
    for label in ("made", "sm"):
        if words := chosen.card[label]:
            screen.print(f"{label}: {visible(words)}", style="dim", markup=False)
    for persona in chosen.personas[:_SHOWN]:
        screen.print(f"  {persona.id[:8]}  {visible(persona.text)}", markup=False)
        more = ", ".join(f"{name} {visible(value)}" for name, value in persona.attributes.items())
        if persona.relation:
            more = ", ".join(filter(None, (f"{persona.relation} of {(persona.parent or '')[:8]}", more)))
        if more:
            screen.print(f"            {more}", style="dim", markup=False)
    if len(chosen.personas) > _SHOWN:
        screen.print(f"  and {len(chosen.personas) - _SHOWN:,} more: --json shows them all", style="dim")


@app.command()
def dedup(
    name: Set,
    out: Out,
    minhash: Annotated[
        float, typer.Option(min=0, max=1, help="Words: two with a Jaccard similarity above this are one.")
    ] = 0.9,
    distinct: Annotated[
        float, typer.Option(min=0, max=1, help="Meaning: two with a cosine above this are one; 0.5 leaves few.")
    ] = 0.9,
    embedder: Annotated[
        str, typer.Option(help="`embedded`, `hashing`, a sentence-transformers folder, or `none`.")
    ] = "embedded",
    as_json: AsJson = False,
) -> None:
    """Take near-copies out of a set: first by words, then by meaning."""
    import json

    from understudy.models import open_embedder
    from understudy.personas import check_free, load_set, save_set
    from understudy.personas import distinct as take_out

    full = load_set(name)
    check_free(out)
    opened = None if embedder == "none" else open_embedder(embedder)
    screen = console()
    with screen.status("") as status:
        made, removed = take_out(
            full,
            minhash=minhash,
            embedding=distinct,
            embedder=opened,
            watch=lambda what, done: status.update(f"{what}: {done:,} of {len(full.personas):,} personas"),
        )
    save_set(made, out)
    if as_json:
        gone = [
            {"id": one.persona.id, "kept": one.kept.id, "by": one.by, "similarity": one.similarity} for one in removed
        ]
        typer.echo(json.dumps({"kept": len(made.personas), "removed": gone}))
        return
    for one in removed[:5]:
        screen.print(f"  {one.similarity:.3f} {one.by:9}  {visible(one.persona.text)}", markup=False)
        screen.print(f"                   {visible(one.kept.text)}", markup=False, style="dim")
    if len(removed) > 5:
        screen.print(f"  and {len(removed) - 5:,} more: --json names them all", style="dim")
    by = {way: sum(one.by == way for one in removed) for way in ("minhash", "embedding")}
    screen.print(
        f"{len(full.personas):,} personas, {by['minhash']:,} removed by words, {by['embedding']:,} by meaning: "
        f"{len(made.personas):,} in {out}",
        markup=False,
    )


@app.command()
def cover(
    name: Set,
    topics: Annotated[
        Path | None, typer.Option(help="The domain: a text file with a topic on each line.", show_default=False)
    ] = None,
    seeds: Annotated[
        Path | None, typer.Option(help="The domain: a recipe, whose seeds are the topics.", show_default=False)
    ] = None,
    reach: Reach = None,
    targets: Annotated[
        Path | None, typer.Option(help="Wanted shares of attributes, in YAML.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A map: .html, .png, .svg or .pdf.", show_default=False)
    ] = None,
    embedder: EmbedderName = "embedded",
    as_json: AsJson = False,
) -> None:
    """Say which topics of a domain a set covers, and whom it is made of."""
    import json
    from dataclasses import asdict

    from understudy.corpus import read_sources
    from understudy.errors import PersonaError
    from understudy.models import open_embedder
    from understudy.personas import coverage, load_set, maps
    from understudy.recipe_file import load_recipe

    made = load_set(name)
    wanted = coverage.targets_in(targets) if targets else None
    if topics and not seeds:
        domain = coverage.topics_in(topics)
    elif seeds and not topics:
        domain = coverage.topics_of([seed for _, seed in read_sources(load_recipe(seeds))])
    else:
        raise PersonaError("say what the domain is", expected="--topics FILE or --seeds RECIPE, one of them")
    found = coverage.cover(made, domain, open_embedder(embedder), coverage.REACH if reach is None else reach)
    told = coverage.shares(made, wanted)
    if out:
        maps.draw(out, made, found, told)
    if as_json:
        near = [
            {"topic": one.topic.name, "nearest": one.nearest.id, "similarity": one.similarity} for one in found.topics
        ]
        figures = {"covered": found.share, "evenness": found.evenness, "idle": [one.id for one in found.idle]}
        gaps = [one.topic.name for one in found.gaps]
        typer.echo(json.dumps({**figures, "gaps": gaps, "topics": near, "shares": [asdict(one) for one in told]}))
        return
    screen = console()
    covered = len(found.topics) - len(found.gaps)
    screen.print(
        f"{covered:,} of {len(found.topics):,} topics have somebody within {found.reach:g}; "
        f"evenness {found.evenness:.2f}; {len(found.idle):,} of {len(made.personas):,} personas are near no topic",
        markup=False,
    )
    for one in found.gaps[:_GAPS]:
        screen.print(f"  gap  {one.similarity:.2f}  {visible(one.topic.name)}", markup=False)
    if len(found.gaps) > _GAPS:
        screen.print(f"  and {len(found.gaps) - _GAPS:,} more: --json names them all", style="dim")
    for share in told:
        if share.alarm:
            screen.print(
                f"  alarm  {share.attribute} {visible(share.value)}: {share.share:.1%}, wanted {share.target:.1%}",
                markup=False, style="yellow",
            )  # fmt: skip
    if out:
        screen.print(f"map: {out}", markup=False)


@app.command()
def diff(one: Set, other: Set, as_json: AsJson = False) -> None:
    """Show who is in only one of two sets."""
    import json

    from understudy.personas import load_set

    ours, theirs = load_set(one), load_set(other)
    left, right = ({persona.id: persona for persona in each.personas} for each in (ours, theirs))
    gone = [persona for id, persona in left.items() if id not in right]
    new = [persona for id, persona in right.items() if id not in left]
    both = len(left) - len(gone)
    if as_json:
        typer.echo(json.dumps({"only": [[one.id for one in gone], [one.id for one in new]], "both": both}))
        return
    screen = console()
    for sign, personas, colour in (("-", gone, "red"), ("+", new, "green")):
        for persona in personas[:_SHOWN]:
            screen.print(f"{sign} {persona.id[:8]}  {visible(persona.text)}", markup=False, style=colour)
    screen.print(f"{both:,} in both, {len(gone):,} only in {one}, {len(new):,} only in {other}", markup=False)


@app.command()
def merge(
    names: Annotated[
        list[str], typer.Argument(metavar="SET...", help="Shipped sets, YAML files, folders.", show_default=False)
    ],
    out: Out,
) -> None:
    """Make one set of several; who is in more than one stands once."""
    from understudy.personas import load_set, merged, save_set

    sets = [load_set(name) for name in names]
    made = merged(sets, out.stem)
    save_set(made, out)
    twice = sum(len(one.personas) for one in sets) - len(made.personas)
    console().print(
        f"{len(made.personas):,} personas of {len(sets)} sets in {out}; {twice:,} stood in more than one. "
        "Near-copies are still in it: understudy personas dedup",
        markup=False,
    )


@app.command(name="import")
def take(
    file: Annotated[Path, typer.Argument(help="Parquet, JSONL or CSV with a column of personas.", show_default=False)],
    out: Out,
    name: Annotated[str, typer.Option(help="What the set is called; default: the name of the output.")] = "",
    license: Annotated[str, typer.Option(help="The licence of the file.")] = "unknown",
    domain: Annotated[str, typer.Option(help="What the people have to do with.")] = "",
    description: Annotated[str, typer.Option(help="One sentence about the set.")] = "",
) -> None:
    """Make a set of anybody's table: Persona Hub's JSONL and Nemotron-Personas' Parquet as they are."""
    from understudy.corpus import persona_folders
    from understudy.personas import PersonaSet, save_set

    members, told = persona_folders.take(file)
    made = f"imported from {file.name}"
    save_set(PersonaSet(name or out.stem, description, license, members, domain, made), out)
    why = {"twins": "that stood there before", "empty": "without a text"}
    left = ", ".join(f"{told[what]:,} {said}" for what, said in why.items() if told[what])
    console().print(f"{len(members):,} personas in {out}" + (f"; left out: {left}" if left else ""), markup=False)


@app.command()
def export(name: Set, out: Out) -> None:
    """Write a set in the other form: YAML for people, a Hugging Face dataset folder for many."""
    from understudy.personas import load_set, save_set

    made = load_set(name)
    save_set(made, out)
    console().print(f"{len(made.personas):,} personas in {out}", markup=False)
