"""Two runs side by side: what became of the same draw of the same seed, and which figures moved."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from understudy.traces.summary import Summary, fetched

PAGE = 50
_FIGURES = """
SELECT count(*) AS drafts, count_if(status = 'accepted') AS accepted, count_if(status = 'rejected') AS rejected,
    count_if(status = 'duplicate') AS duplicate, count_if(status = 'failed') AS failed, sum(tokens) AS tokens,
    avg(words) FILTER (status = 'accepted') AS words
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure in both runs; None where there is nothing to measure."""

    name: str
    before: float | None
    after: float | None
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """What changed from one run to another."""

    figures: list[Figure]
    skills: list[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]
    """Each skill with its figures in both runs."""
    moves: list[dict[str, Any]]
    """How many drafts went from which fate to which; `same` says whether their text is the same."""
    changed: list[dict[str, Any]]
    """Drafts whose fate or text differs: one page of them, in the order of the newer run."""
    total: int


def compare(before: Summary, after: Summary, since: int = -1) -> Compared:
    """Compare two runs by the seed and the draw of each draft; the page of changes begins after the turn `since`."""
    (old,), (new,) = (one.rows(f"{_FIGURES} FROM drafts") for one in (before, after))
    by_skill = [
        {row["skill"]: row for row in one.rows(f"{_FIGURES}, coalesce(skill, '–') AS skill FROM drafts GROUP BY skill")}
        for one in (before, after)
    ]
    skills = sorted(by_skill[0].keys() | by_skill[1].keys())
    with closing(after.cursor()) as db:
        with closing(before.cursor()) as other:
            # By way of a table of this connection: it can be joined twice, and spills to the disk if it is large.
            reader = other.sql("SELECT id, seed, draw, status, reason, asked FROM drafts").to_arrow_reader(100_000)
            db.register("reader", reader)
            db.execute("CREATE TEMP TABLE other AS SELECT * FROM reader")
        moves = fetched(
            db.execute(
                "SELECT o.status AS before, n.status AS after, o.id = n.id AS same, count(*) AS drafts"
                " FROM other o FULL JOIN drafts n ON o.seed = n.seed AND o.draw = n.draw GROUP BY 1, 2, 3"
                " ORDER BY 4 DESC, 1, 2, 3"
            )
        )
        changed = fetched(
            db.execute(
                "SELECT n.turn, n.id AS after_id, o.id AS before_id, o.status AS before, n.status AS after,"
                " o.reason AS before_reason, n.reason AS after_reason, n.asked, o.asked AS before_asked, n.leaf"
                " FROM other o JOIN drafts n ON o.seed = n.seed AND o.draw = n.draw"
                " WHERE (o.id <> n.id OR o.status <> n.status) AND n.turn > ? ORDER BY n.turn LIMIT ?",
                [since, PAGE],
            )
        )
    total = sum(
        row["drafts"]
        for row in moves
        if row["before"] and row["after"] and not (row["same"] and row["before"] == row["after"])
    )
    return Compared(
        _figures(old, new),
        [(skill, by_skill[0].get(skill), by_skill[1].get(skill)) for skill in skills],
        moves,
        changed,
        total,
    )


def _figures(old: dict[str, Any], new: dict[str, Any]) -> list[Figure]:
    def share(row: dict[str, Any], what: str) -> float | None:
        return row[what] / row["drafts"] if row["drafts"] else None

    def each(row: dict[str, Any]) -> float | None:
        return float(row["tokens"]) / row["accepted"] if row["accepted"] else None

    return [
        Figure("drafts", old["drafts"], new["drafts"]),
        *(
            Figure(what, share(old, what), share(new, what), True)
            for what in ("accepted", "rejected", "duplicate", "failed")
        ),
        Figure("SM tokens per accepted example", each(old), each(new)),
        Figure("words in an accepted example", old["words"], new["words"]),
    ]
