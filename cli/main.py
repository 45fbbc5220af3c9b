"""The command and its verbs; errors become messages and exit codes here."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from understudy.cli import (
    agents,
    chat,
    check,
    evaluate,
    export,
    graph,
    init,
    journal,
    lineage,
    merge,
    people,
    push,
    rank,
    report,
    run,
    serve,
    sm,
    sweep,
    table,
    table_files,
    table_private,
    traces,
    train,
)

app = typer.Typer(
    name="understudy",
    help="Turn a few seeds into a training corpus, and the corpus into a small model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init.init)
app.command(name="agents")(agents.agents)
app.add_typer(people.app, name="personas")
app.command()(run.run)
app.command()(traces.traces)
app.command()(report.report)
app.command()(check.check)
app.add_typer(journal.app, name="journal")
app.command()(export.export)
app.command()(train.train)
app.command()(sm.sm)
app.command()(sweep.sweep)
app.command(name="eval")(evaluate.evaluate)
app.command()(rank.rank)
app.command()(lineage.lineage)
app.command()(lineage.blame)
app.command()(chat.chat)
app.command()(serve.serve)
app.command()(merge.merge)
app.command()(push.push)
table.app.command()(table_files.schema)
table.app.command()(table_files.questions)
table.app.command()(table_private.private)
app.add_typer(table.app, name="table")
app.command()(graph.graph)


def _version(wanted: bool) -> None:
    if wanted:
        from understudy import __version__

        typer.echo(f"understudy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    # Progress bars and network look-ups of libraries are not ours to show or make.
    if context.invoked_subcommand != "push":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("LANGSMITH_TRACING", "false")
    if debug:
        os.environ["UNDERSTUDY_DEBUG"] = "1"


def main() -> None:
    """Run the command; an error of ours is printed, not traced, and sets the exit code."""
    try:
        app()
    except SystemExit as end:
        # Ctrl-C before a command could catch it: typer makes an exit without a word of it.
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
            sys.stderr.write("\nStopped.\n")
        raise
    except Exception as error:
        from understudy.errors import UnderstudyError

        if os.environ.get("UNDERSTUDY_DEBUG") or not isinstance(error, UnderstudyError):
            raise
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(error.exit_code) from None
