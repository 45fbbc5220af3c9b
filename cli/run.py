"""`understudy run`: generate a corpus, or say what that would take."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import LOG_EVERY_S, clock, console, default_out, plain_table, visible
from understudy.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from understudy.graphs import Outcome, Progress
    from understudy.graphs.forecast import Forecast, Range
    from understudy.recipe import Recipe


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, one YAML file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The corpus folder; default: runs/ beside the recipe.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen and cost; call no model.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go on after the forecast without being asked.")] = False,
    reuse: Annotated[
        list[Path] | None,
        typer.Option("--reuse", metavar="CORPUS", help="Take over calls of this corpus that are the same here."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as accept=100.")
    ] = None,
) -> None:
    """Generate a corpus from a recipe; run again to resume."""
    from understudy.recipe_file import load_recipe

    loaded = load_recipe(recipe, tuple(settings or ()))
    folder = out or default_out(recipe)
    if dry_run:
        from understudy.cli.plan import show_plan

        show_plan(loaded, folder, reuse or [])
        return
    from understudy.graphs import run as generate

    console().print(f"[bold]{loaded.name}[/]: {loaded.accept} accepted examples into {folder}")
    with Watch(yes) as watch:
        outcome = generate(loaded, folder, watch, watch.ask, reuse or ())
    again = ["understudy", "run", str(recipe), *(["--out", str(out)] if out else [])]
    again += [word for path in reuse or () for word in ("--reuse", str(path))]
    again += [word for setting in settings or () for word in ("--set", setting)]
    steps = [f"understudy report {folder}", f"understudy traces {folder}"]
    if outcome.books.drafts["accepted"]:
        steps.append(f"understudy train {folder} --out vm")
    conclude(loaded, outcome, shlex.join(again), steps)


def conclude(recipe: Recipe, outcome: Outcome, again: str, steps: list[str]) -> None:
    """Show how a run ended, and exit accordingly.

    Args:
        recipe: what was run.
        outcome: how it ended.
        again: the command that goes on with it.
        steps: commands to try next.
    """
    _summary(recipe, outcome, again, steps)
    if outcome.ended == "interrupted":
        raise typer.Exit(130)
    if outcome.ended == "disk":
        raise typer.Exit(StorageError.exit_code)
    if outcome.ended != "goal":
        raise typer.Exit(5)


class Watch:
    """Shows progress: a live line in a terminal, else a plain line now and then."""

    def __init__(self, yes: bool, *, whole_plan: bool = False) -> None:
        from rich.live import Live

        self._yes = yes
        self._whole_plan = whole_plan
        self._console = console()
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._last = time.monotonic()
        self._alarms = 0

    def __enter__(self) -> Watch:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the run stands, and what the monitor has sounded since the last time."""
        for told in progress.alarms[self._alarms :]:
            self._console.print("alarm", visible(told), style="yellow", soft_wrap=True, markup=False)
        self._alarms = len(progress.alarms)
        if self._console.is_terminal:
            self._live.update(line(progress))
        elif progress.measuring or time.monotonic() - self._last > LOG_EVERY_S:
            self._last = time.monotonic()
            typer.echo(line(progress))

    def ask(self, told: Forecast) -> bool:
        """Show the forecast; in a terminal, ask whether to go on."""
        if self._console.is_terminal:
            self._live.stop()
        for text in foretold(told, whole_plan=self._whole_plan):
            self._console.print(text)
        if self._yes or not (self._console.is_terminal and sys.stdin.isatty()):
            return True
        agreed = typer.confirm("Go on?", default=True)
        self._live.start()
        return agreed


def foretold(told: Forecast, *, whole_plan: bool = False) -> list[str]:
    """A forecast in words, each figure with its 90 % interval; of a run whose goal is to go through its whole plan."""

    def span(range: Range, form: Callable[[float], str]) -> str:
        return f"{form(range.middle)} ({form(range.low)} to {form(range.high)})"

    whole = "{:,.0f}".format
    takes = f"{span(told.drafts, whole)} drafts, {span(told.tokens, whole)} tokens, {span(told.seconds, clock)}"
    lines = [
        f"After {told.pilot} drafts, {span(told.acceptance, '{:.0%}'.format)} are expected to be accepted. "
        f"For {told.accept:,} that makes",
        f"  {takes}",
    ]
    if whole_plan:
        lines = [f"After {told.pilot} drafts, the whole plan is expected to take", f"  {takes}"]
    if told.money.high:
        lines.append(f"  {span(told.money, '{:,.4g}'.format)} in money")
    if told.within_plan < 0.95 and not whole_plan:
        lines.append(
            f"  [yellow]The plan's drafts suffice with a chance of {told.within_plan:.0%}: raise `draws_per_seed`.[/]"
        )
    return lines


def line(progress: Progress) -> str:
    """Where the run stands, in one line."""
    counts = progress.counts
    settled = sum(counts.values())
    left = "measuring" if progress.measuring else f"ETA {clock(progress.eta_s)}"
    return (
        f"{counts['accepted']}/{progress.goal} accepted  {counts['rejected']} rejected  "
        f"{counts['duplicate']} dup  {counts['failed']} failed  "
        f"{min(settled, progress.seeds)}/{progress.seeds} seeds  "
        f"{progress.tokens / 1000:.1f}k tok  {progress.tokens_per_s:.0f} tok/s  {left}"
        + (f"  cost {progress.cost:.2f}" if progress.cost else "")
    )


def _summary(recipe: Recipe, outcome: Outcome, again: str, steps: list[str]) -> None:
    from rich.markup import escape

    screen = console()
    books = outcome.books
    words = {"goal": "[green]done[/]", "interrupted": "[yellow]stopped[/]"}
    screen.print(f"{words.get(outcome.ended, '[yellow]ended early[/]')}: {outcome.detail}")
    table = plain_table("", "seeds", "drafts", "SM tokens")
    for row in _rows(books):
        table.add_row(*row)
    screen.print(table)
    if books.drafts["accepted"]:
        cost = f", cost {books.cost:.4f}" if books.cost else ""
        screen.print(f"{books.tokens / books.drafts['accepted']:,.0f} SM tokens per accepted example{cost}")
    if reused := sum(cost.reused for cost in books.agents.values()):
        calls = sum(cost.calls for cost in books.agents.values())
        screen.print(f"{reused:,} of {calls:,} calls were taken over from an earlier corpus, at no cost")
    if recipe.rows is not None:
        _privacy(outcome.folder)
    if recipe.review:
        _review(outcome.folder)
    lost = sorted(books.reasons.items(), key=lambda item: -item[1])
    for reason, count in lost[:6]:
        screen.print(f"  {count:5d}  {reason}", style="dim")
    if len(lost) > 6:
        screen.print(f"         and {len(lost) - 6} more reasons: understudy report {outcome.folder}", style="dim")
    more = {
        "interrupted": "Nothing is lost. To go on:",
        "disk": "Nothing is lost. Make room, then go on:",
        "alarm": "Nothing is lost. To go on all the same:",
        "budget": "To go on, raise `budget` in the recipe and run again:",
        "turns": f"{books.drafts['accepted']} of {recipe.accept} were accepted. "
        "To go on, raise `draws_per_seed` and run again:",
    }
    if outcome.ended in more:
        screen.print(f"{more[outcome.ended]}\n  [bold]{escape(again)}[/]", soft_wrap=True)
    screen.print("\nNext:\n  " + "\n  ".join(map(escape, steps)), soft_wrap=True)


def _privacy(folder: Path) -> None:
    """Whether the rows of a table may be handed on."""
    from understudy.corpus.hub import private_rows
    from understudy.traces.table_page import verdict

    found = private_rows(folder)
    if found is None:
        return
    screen = console()
    tone = {True: "green", False: "red"}.get(found["passed"], "yellow")
    screen.print(f"privacy: [{tone}]{verdict(found['passed'])}[/]")
    for one in found["findings"]:
        if one["passed"] is False:
            screen.print(f"  {visible(one['told'])}", markup=False)


def _review(folder: Path) -> None:
    """How much people have still to look at."""
    from understudy.corpus import RunFolder

    with RunFolder.read(folder) as corpus:
        word = corpus.word()
        due = sum(word.due(row["id"]) for row in corpus.rows(columns=["id"]))
    rejected = sum(review.label == "reject" for review in word.standing.values())
    console().print(f"{len(word.standing):,} reviewed by people, {rejected:,} rejected; {due:,} to be reviewed")


def _rows(books: Any) -> list[tuple[str, str, str, str]]:
    tokens = books.tokens_by_status
    rows = [(state, str(count), "", "") for state, count in books.seeds.items()]
    rows += [(status, "", str(count), f"{tokens.get(status, 0):,}") for status, count in books.drafts.items()]
    rows.append(("unfinished drafts", "", "", f"{tokens['unfinished']:,}"))
    rows.append(("all", str(sum(books.seeds.values())), str(sum(books.drafts.values())), f"{books.tokens:,}"))
    return rows
