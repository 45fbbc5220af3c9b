"""`understudy traces`: the viewer of a corpus, one example's way from seed to verdict, or a list of examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.screen import AsJson, Corpus, console, plain_table, visible

if TYPE_CHECKING:
    from understudy.traces import Story


def traces(
    corpus: Corpus,
    example: Annotated[
        str | None,
        typer.Argument(help="An example's id, or the start of it: print its way as a tree.", show_default=False),
    ] = None,
    status: Annotated[str | None, typer.Option(help="Only accepted, rejected, duplicate or failed.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print a list of examples.")] = False,
    limit: Annotated[int, typer.Option(help="How many to list.")] = 20,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show whole prompts, not only their tasks.")] = False,
    otlp: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send them to an OpenTelemetry collector instead.", show_default=False),
    ] = None,
    content: Annotated[
        bool,
        typer.Option("--content", help="With --otlp: prompts, replies and seeds too; they leave this machine."),
    ] = False,
    as_json: AsJson = False,
    port: Annotated[int, typer.Option(help="Port of the viewer; 0 takes one that is free.")] = 0,
    beside: Annotated[
        Path | None, typer.Option(help="A second corpus, which the viewer compares with.", show_default=False)
    ] = None,
    vm: Annotated[
        Path | None, typer.Option(help="A VM trained on it: the viewer shows what it made of it.", show_default=False)
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Whose name reviews bear; else that of your account.", show_default=False)
    ] = None,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open the viewer in a browser.")] = True,
) -> None:
    """Open a viewer of a corpus in the browser; or print one example, or a list of them."""
    import json

    from understudy.errors import UserError

    if status not in {None, "accepted", "rejected", "duplicate", "failed"}:
        raise UserError(f"--status {status}", expected="accepted, rejected, duplicate or failed")
    if otlp is not None:
        from understudy.cli.otlp import send

        send(corpus, example, otlp, status, content, as_json)
        return
    if content:
        raise UserError("--content without --otlp", remedy="give the collector with --otlp URL, or leave it out")
    if example is not None:
        from understudy.traces import story

        told = story(corpus, example)
        skills = _skills(corpus, told)
        if as_json:
            typer.echo(json.dumps(told.as_dict() | {"skills": skills}, ensure_ascii=False, indent=2))
        else:
            _tree(told, prompts, skills)
    elif listed or as_json:
        _list(corpus, status, limit, as_json)
    else:
        _view(corpus, status, port, beside, vm, browse, reviewer)


def _list(corpus: Path, status: str | None, limit: int, as_json: bool) -> None:
    import json

    from understudy.corpus import RunFolder

    with RunFolder.read(corpus) as folder:
        found = folder.ledger.draft_ids(status=status, limit=limit)
        total = sum(count for state, count in folder.ledger.drafts_by_status().items() if status in (None, state))
    if as_json:
        typer.echo(json.dumps([{"id": i, "status": s, "reason": r} for i, s, r in found]))
        return
    table = plain_table("example", "status", "reason", words=3)
    for id, state, reason in found:
        table.add_row(id[:12], state, reason or "")
    console().print(table)
    console().print(f"{len(found)} of {total}.")
    if found:
        typer.echo(f"One of them: understudy traces {corpus} {found[0][0][:12]}")


def _view(
    corpus: Path,
    status: str | None,
    port: int,
    beside: Path | None,
    vm: Path | None,
    browse: bool,
    reviewer: str | None,
) -> None:
    import getpass
    import os
    import sys
    import webbrowser

    from understudy.traces.viewer import serve

    def ready(address: str) -> None:
        if status:
            address = address.replace("/?", f"/examples?status={status}&")
        typer.echo(f"{corpus} is shown at\n  {address}\nCtrl-C ends it.")
        sys.stdout.flush()
        # Without a screen a browser in the terminal would be started, over what is printed here.
        if browse and (sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            webbrowser.open(address)

    serve(corpus, port, reviewer or getpass.getuser(), beside, vm, ready)


def _skills(corpus: Path, told: Story) -> list[str]:
    """Which skills the seed can feed, by its kind and by what it holds, as the prompt files are now."""
    from understudy.agents import load_catalog
    from understudy.corpus import RunFolder
    from understudy.errors import PromptError

    with RunFolder.read(corpus) as folder:
        recipe = folder.recipe
    try:
        cast = load_catalog(recipe.agents, recipe.path(recipe.agents.folder) if recipe.agents.folder else None)
    except PromptError:  # the run's own prompt files have changed or gone
        return []
    able = (one for one in cast.of("instruct", told.seed.kind) if one.takes(told.seed))
    return sorted({one.prompt.skill for one in able if one.prompt.skill})


def _tree(told: Story, prompts: bool, skills: list[str]) -> None:
    from rich.text import Text
    from rich.tree import Tree

    example = told.example
    colour = {"accepted": "green", "rejected": "red", "duplicate": "yellow", "failed": "red"}[example.status]
    root = Tree(
        Text.assemble(("example ", "bold"), example.id, "  ", (example.status, colour), f"  {example.reason or ''}")
    )
    seed = root.add(
        Text.assemble(("seed ", "bold"), f"{told.seed.kind}  {visible(told.seed.source)}  {told.seed.id[:12]}")
    )
    seed.add(Text(visible(_short(told.seed.content, 400))))
    persona = example.persona
    root.add(Text.assemble(("persona ", "bold"), visible(persona.text) if persona else "none"))
    root.add(Text.assemble(("path ", "bold"), " → ".join(example.path)))
    if skills:
        listed = f"{len(skills)} skills: {', '.join(skills)}"
        root.add(Text.assemble(("this seed can feed ", "bold"), visible(listed)))
    calls = root.add(Text.assemble(("calls ", "bold"), f"{len(told.steps)}, {told.tokens:,} SM tokens"))
    for step in told.steps:
        call = step.call
        usage = f"{call.usage['prompt']}+{call.usage['completion']} tok  {call.seconds:.1f}s"
        usage += "  reused" if call.reused else ""
        note = "  asked again" if step.again else ""
        branch = calls.add(Text.assemble((call.agent, "cyan"), f"  {usage}  {call.key[:12]}{note}"))
        shown = call.messages if prompts else call.messages[-1:]
        for message in shown:
            text = message["content"] if prompts else message["content"].rpartition("\n\n")[2]
            branch.add(Text.assemble((f"{message['role']}: ", "dim"), visible(text)))
        branch.add(
            Text.assemble(
                ("reply: ", "bold"), visible(call.reply or "none"), (f"  ({call.error})" if call.error else "", "red")
            )
        )
    if example.versions:
        versions = root.add(Text("versions", "bold"))
        for version in example.versions:
            kept = version.outcome.startswith("kept")
            head = (version.outcome, "green" if kept else "yellow")
            score = "" if version.score is None else f"  {version.score:.2f}"
            branch = versions.add(Text.assemble(f"round {version.round}  {version.by}  ", head, score))
            branch.add(Text(visible(_short(f"{version.instruction} → {version.answer}", 400))))
    verdicts = root.add(Text("verdicts", "bold"))
    for verdict in example.verdicts:
        mark = ("passed", "green") if verdict.passed else ("failed", "red")
        score = "" if verdict.score is None else f"  {verdict.score:.2f}"
        verdicts.add(Text.assemble(mark, f"  {verdict.by}{score}  {visible(verdict.evidence or '')}"))
    if messages := example.payload.get("messages"):
        payload = root.add(Text("example", "bold"))
        for message in messages:
            made = (call["function"] for call in message.get("tool_calls", ()))
            called = "".join(f" {call['name']}({call['arguments']})" for call in made)
            payload.add(Text.assemble((f"{message['role']}: ", "dim"), visible(message["content"] + called)))
    console().print(root)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + " …"
