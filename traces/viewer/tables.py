"""What the pages show, asked of the summaries: each function is one question."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from understudy.traces.filters import STAGES, Filter
from understudy.traces.summary import EVERYTHING, Summary

Rows = list[dict[str, Any]]
PAGE = 50
FACETS = ("status", "reason", "skill", "leaf", "persona", "kind")
SHOWN = 200
"""So many values of a facet are offered for choice; the page says how many more there are."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of examples."""

    rows: Rows
    total: int
    before: int
    """How many come before the first."""
    first: int | None
    last: int | None


def page(summary: Summary, chosen: Filter, after: int | None = None, before: int | None = None) -> Page:
    """The examples after a turn, or before one, in plan order."""
    ahead = before is None
    edge = (after if after is not None else -1) if ahead else before
    rows = summary.rows(
        f"SELECT c.turn, c.id, c.status, c.reason, c.skill, c.leaf, c.kind, c.persona, c.tokens, c.asked, c.source,"  # noqa: S608
        f" p.text AS persona_text FROM chosen c LEFT JOIN personas p ON p.id = c.persona"
        f" WHERE c.turn {'>' if ahead else '<'} $edge ORDER BY c.turn {'' if ahead else 'DESC'} LIMIT {PAGE}",
        chosen,
        edge=edge,
    )
    rows.sort(key=lambda row: row["turn"])
    first = rows[0]["turn"] if rows else None
    (counts,) = summary.rows(
        "SELECT count(*) AS total, count(*) FILTER (turn < $first) AS before FROM chosen",
        chosen,
        first=first if first is not None else 0,
    )
    return Page(rows, counts["total"], counts["before"], first, rows[-1]["turn"] if rows else None)


def facets(summary: Summary, chosen: Filter) -> dict[str, Rows]:
    """How many of the chosen drafts have each status, reason, skill, leaf, persona and kind, the most first.

    Of agents and verifiers, which there are at all: a draft has several, and a million drafts some ten million.
    """
    sets = ", ".join(f"({name})" for name in FACETS)
    found = summary.rows(
        f"SELECT grouping({', '.join(FACETS)}) AS which, {', '.join(FACETS)}, count(*) AS count"  # noqa: S608
        f" FROM chosen GROUP BY GROUPING SETS ({sets}) ORDER BY count DESC",
        chosen,
    )
    out: dict[str, Rows] = {name: [] for name in FACETS}
    for row in found:
        # The bit of the column that is grouped by is 0, those of the others are 1.
        name = next(n for place, n in enumerate(reversed(FACETS)) if not row["which"] >> place & 1)
        if row[name] is not None:
            out[name].append({"value": row[name], "count": row["count"]})
    texts = persona_texts(summary, [one["value"] for one in out["persona"][:SHOWN]])
    for one in out["persona"][:SHOWN]:
        one["text"] = texts.get(one["value"], "")
    for name in ("agent", "by"):
        out[name] = summary.rows("SELECT value FROM names WHERE kind = $kind ORDER BY value", kind=name)
    return out


def persona_texts(summary: Summary, ids: list[str]) -> dict[str, str]:
    """The texts of personas, by id."""
    rows = summary.rows("SELECT id, text FROM personas WHERE list_contains($ids, id)", ids=ids)
    return {row["id"]: row["text"] for row in rows}


def neighbours(summary: Summary, chosen: Filter, turn: int) -> tuple[str | None, str | None]:
    """The ids of the examples before and after a turn, among the chosen."""
    (row,) = summary.rows(
        "SELECT arg_max(id, turn) FILTER (turn < $turn) AS before, arg_min(id, turn) FILTER (turn > $turn) AS after"
        " FROM chosen",
        chosen,
        turn=turn,
    )
    return row["before"], row["after"]


def counts(summary: Summary, chosen: Filter = EVERYTHING) -> dict[str, dict[str, int]]:
    """Drafts and SM tokens by status."""
    rows = summary.rows("SELECT status, count(*) AS drafts, sum(tokens) AS tokens FROM chosen GROUP BY 1", chosen)
    return {row["status"]: {"drafts": row["drafts"], "tokens": int(row["tokens"])} for row in rows}


def reasons(summary: Summary, chosen: Filter = EVERYTHING) -> Rows:
    """Why drafts were not accepted, the commonest reason first."""
    return summary.rows(
        "SELECT status, reason, count(*) AS drafts, sum(tokens) AS tokens FROM chosen WHERE status <> 'accepted'"
        " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
        chosen,
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the graph with what passed through it."""

    name: str
    drafts: int
    lost: dict[tuple[str, str], int]
    """Drafts that ended here, by status and reason."""
    calls: int
    tokens: int
    seconds: float | None
    """The median of a call."""


def stages(summary: Summary, chosen: Filter) -> tuple[list[Stage], Counter[tuple[str, str]]]:
    """The graph's stages, and how many drafts went from each to each."""
    ways: Counter[tuple[str, str]] = Counter()
    through: Counter[str] = Counter()
    lost: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for row in summary.rows("SELECT stages, reason, count(*) AS count FROM chosen GROUP BY 1, 2", chosen):
        steps = row["stages"].split(">")
        for one, other in pairwise(steps):
            ways[one, other] += row["count"]
        through.update(dict.fromkeys(steps, row["count"]))
        if steps[-1] != "accepted":
            lost[steps[-2]][steps[-1], row["reason"] or ""] += row["count"]
    calls = summary.rows(
        "SELECT split_part(agent, '/', 1) AS stage, count(*) AS calls, sum(prompt + completion) AS tokens,"
        " approx_quantile(seconds, 0.5) AS seconds FROM calls SEMI JOIN chosen USING (turn) GROUP BY 1",
        chosen,
    )
    used = {row["stage"]: row for row in calls}
    nothing = {"calls": 0, "tokens": 0, "seconds": None}
    found = [
        Stage(
            name, through[name], dict(lost[name].most_common()),
            *((row := used.get(name, nothing))["calls"], int(row["tokens"]), row["seconds"]),
        )
        for name in STAGES
        if through[name]
    ]  # fmt: skip
    return found, ways


def personas(summary: Summary, chosen: Filter = EVERYTHING) -> Rows:
    """Each persona with what became of its drafts, the most duplicates first."""
    return summary.rows(
        "SELECT c.persona AS id, any_value(p.text) AS text, count(*) AS drafts,"
        " count_if(status = 'accepted') AS accepted, count_if(status = 'rejected') AS rejected,"
        " count_if(status = 'duplicate') AS duplicate, count_if(status = 'failed') AS failed,"
        " sum(tokens) AS tokens FROM chosen c LEFT JOIN personas p ON p.id = c.persona GROUP BY 1"
        " ORDER BY duplicate DESC, drafts DESC, id",
        chosen,
    )


def verifiers(summary: Summary) -> Rows:
    """Each verifier: of how many drafts it said something, how often no, and how often nobody else said no."""
    return summary.rows(
        "SELECT verifier, count(*) AS spoke, count_if(NOT passed) AS no, count_if(alone) AS alone, avg(score) AS score"
        " FROM verdicts GROUP BY 1 ORDER BY no DESC, verifier"
    )


def agreements(summary: Summary) -> Rows:
    """Each two judges that both spoke of a draft: how often, and how often they said the same."""
    return summary.rows(
        "SELECT a.verifier AS one, b.verifier AS other, count(*) AS both, count_if(a.passed = b.passed) AS same,"
        " count_if(a.passed AND NOT b.passed) AS only_one, count_if(b.passed AND NOT a.passed) AS only_other"
        " FROM verdicts a JOIN verdicts b ON a.turn = b.turn AND a.verifier < b.verifier"
        " WHERE starts_with(a.verifier, 'judge/') AND starts_with(b.verifier, 'judge/') GROUP BY 1, 2 ORDER BY 3 DESC"
    )


def agents(summary: Summary, chosen: Filter = EVERYTHING) -> Rows:
    """What each agent's calls took."""
    return summary.rows(
        "SELECT agent, sm, count(*) AS calls, count_if(reused) AS reused, count_if(error IS NOT NULL) AS errors,"
        " sum(prompt) AS prompt, sum(cached) AS cached, sum(completion) AS completion,"
        " sum(CASE WHEN reused THEN 0 ELSE prompt + completion END) AS tokens, approx_quantile(seconds, 0.5) AS half,"
        " approx_quantile(seconds, 0.95) AS slow FROM calls SEMI JOIN chosen USING (turn) GROUP BY 1, 2"
        " ORDER BY tokens DESC, agent",
        chosen,
    )


def yields(summary: Summary, by: str, chosen: Filter = EVERYTHING) -> Rows:
    """Drafts, accepted ones and tokens by skill or leaf, the dearest first."""
    return summary.rows(
        f"SELECT {by} AS name, count(*) AS drafts, count_if(status = 'accepted') AS accepted, sum(tokens) AS tokens"  # noqa: S608
        " FROM chosen GROUP BY 1 ORDER BY tokens DESC, name",
        chosen,
    )


BARS = 120


def speeds(summary: Summary) -> list[float]:
    """SM tokens per minute while the SM was asked, from the first minute to the last, at most 120 figures.

    Minutes in which nothing was asked, between two sittings say, are left out. Journals of earlier versions do not say
    when a call was made.
    """
    rows = summary.rows(
        "SELECT sum(prompt + completion) AS tokens FROM calls WHERE asked_at IS NOT NULL AND NOT reused"
        " GROUP BY floor(asked_at / 60) ORDER BY floor(asked_at / 60)"
    )
    each = -(-len(rows) // BARS) or 1
    together = [rows[place : place + each] for place in range(0, len(rows), each)]
    return [float(sum(row["tokens"] for row in some)) / len(some) for some in together]
