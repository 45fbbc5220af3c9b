"""`understudy traces --otlp`: examples sent to a collector of OpenTelemetry traces."""

from __future__ import annotations

import json
from pathlib import Path

import typer


def send(corpus: Path, example: str | None, url: str, status: str | None, content: bool, as_json: bool) -> None:
    """Send one example, those of a status, or all, and say how many arrived."""
    from rich.console import Console
    from rich.progress import Progress

    from understudy.corpus import RunFolder
    from understudy.errors import UserError
    from understudy.traces import stories, story

    try:
        from understudy.traces import otlp
    except ImportError as error:
        raise UserError(
            f"sending traces needs {error.name}", remedy="install it with `pip install 'understudy[otel]'`"
        ) from error
    address = otlp.endpoint(url)
    with RunFolder.read(corpus) as folder, Progress(console=Console(stderr=True), transient=True) as progress:
        counts = folder.ledger.drafts_by_status()
        total = 1 if example else sum(count for state, count in counts.items() if status in (None, state))
        bar = progress.add_task("examples", total=total)
        found = iter([story(corpus, example)]) if example else stories(folder, status)
        sent = otlp.send(
            found,
            address,
            folder.recipe.engines,
            folder.recipe.name,
            content=content,
            tell=lambda sent: progress.update(bar, completed=sent.examples),
        )
    if as_json:
        typer.echo(json.dumps({"examples": sent.examples, "spans": sent.spans, "to": address}))
        return
    typer.echo(f"{sent.examples:,} examples ({sent.spans:,} spans) are at {address}")
    if sent.examples and not content:
        typer.echo("Prompts and replies stayed here; --content sends them too.")
