"""What a run makes: the graph that its drafts go through, and what comes of them in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from understudy.agents import Catalog, catalog_of
from understudy.corpus import Accounting, RunFolder, card
from understudy.graphs import rows
from understudy.graphs.pipeline import build_graph
from understudy.graphs.state import State
from understudy.graphs.table import Table
from understudy.nouns import Family, Seed
from understudy.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Work:
    """What the runner needs to know of what it makes.

    A corpus is one kind of work (`corpus`), persona sets are another (`people.py`).
    """

    build: Callable[[], Any]
    """Compiles the graph."""
    catalog: Catalog
    needed: tuple[Family, ...]
    """Families without which the graph cannot make an example."""
    compared: Callable[[State], str]
    """The text of a draft that deduplication compares."""
    finish: Callable[[RunFolder, Accounting, str, dict[str, float], dict[str, Any]], None]
    """Writes the cards, given the books, the SMs, the measures and the figures."""
    seeds: Iterable[tuple[int, Seed]] | None = None
    """As `read_sources` gives them; None: those of the recipe."""
    known: tuple[tuple[str, str], ...] = ()
    """Texts that count as taken, by the ids of what they are of."""
    version: tuple[Any, ...] = ()
    """What determines the result beside the recipe."""
    table: Table | None = None
    """Of a recipe for rows."""

    @property
    def plans(self) -> bool:
        """Whether each draft is for a leaf."""
        return "instruct" in self.needed


def corpus(recipe: Recipe) -> Work:
    """Examples of instructions with their answers; of a resolved recipe for rows, rows."""
    table = Table.of(recipe) if recipe.rows is not None else None
    return Work(
        build_graph,
        catalog_of(recipe),
        ("instruct", "answer"),
        compared,
        _finish(table),
        version=table.version if table else (),
        table=table,
    )


def _finish(table: Table | None) -> Callable[[RunFolder, Accounting, str, dict[str, float], dict[str, Any]], None]:
    """Writes the card; of a table, after its rows were measured."""
    if table is None:
        return card.write

    def write(folder: RunFolder, books: Accounting, sms: str, measures: dict[str, float], told: dict[str, Any]) -> None:
        rows = [json.loads(row["row"]) for row in folder.rows("accepted", columns=["row"])]
        refused = {
            reason.removeprefix("rejected: "): count
            for reason, count in books.reasons.items()
            if reason.startswith("rejected: privacy/")
        }
        figures = table.figures(rows, refused) if rows else None
        card.write(folder, books, sms, measures, told | {"table": figures})

    return write


def compared(state: State) -> str:
    """The instruction, refined if it was; of a request that stays the same, the answer."""
    draft = state.get("draft")
    if draft is None or "dialogue" in state:
        return state["instruction"]
    if "text" in state:
        return state["text"]
    if "row" in state:
        return rows.compared(state["row"])
    if exchanges := state.get("exchanges"):
        return exchanges[0][0]  # how the conversation began
    return draft.answer if state["asked_by"].prompt.request else draft.instruction
