"""What verbs share on the screen: the console, the folder a recipe writes to, and tables."""

from __future__ import annotations

import sys
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Corpus = Annotated[Path, typer.Argument(help="A corpus folder, as `understudy run` writes it.", show_default=False)]
# Where standard error is no terminal, how often a line says how far long work is.
LOG_EVERY_S = 15.0
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def console() -> Console:
    """Standard output, with colour where it is a terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def plain_table(*columns: str, words: int = 1) -> Table:
    """A borderless table that fits 80 columns; the first `words` columns hold words, the others figures."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < words else "right", overflow="fold")
    return table


def default_out(recipe: Path) -> Path:
    """Where a recipe's corpus goes when no folder is named: `runs/` beside the recipe."""
    return recipe.parent / "runs" / recipe.stem


def visible(text: str) -> str:
    """Text of unknown origin, with control characters shown instead of obeyed by the terminal."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cf", "Cs"} else f"\\x{ord(char):02x}"
        for char in text
    )


def clock(seconds: float | None) -> str:
    """A duration for people: 45s, 3m20s, 2h05m."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Meter:
    """How far work of a known size is, on standard error: one line that is written over, or one now and then."""

    def __init__(self) -> None:
        self._what = ""
        self._first = 0
        self._started = self._told = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Told after each part; another `what` begins anew."""
        now = time.monotonic()
        if what != self._what:  # the first part is done: what it took before that includes reading the model
            self._what, self._first, self._started = what, done, now
        here = done - self._first
        text = (
            f"{what}: {done:,}/{total:,}  ETA {clock((now - self._started) / here * (total - done) if here else None)}"
        )
        if sys.stderr.isatty():
            typer.echo(f"\r{text}  ", err=True, nl=done == total)
        elif now - self._told >= LOG_EVERY_S:
            self._told = now
            typer.echo(text, err=True)
