"""A corpus on one page: one HTML file that needs nothing else, runs no script and asks no network.

What stands in a corpus was written by models and strangers. The template escapes every value, the charts do the same,
and the page forbids scripts and requests besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from understudy.corpus.storage import storage_errors
from understudy.errors import UserError
from understudy.traces import charts, table_page
from understudy.traces.journeys import STOPS

_TEMPLATES = Path(__file__).parent / "templates"
_SKILLS, _OUTCOMES, _ROWS, _GROUPS, _BARS = 16, 10, 40, 8, 16
# Fewer duplicates than this are no histogram.
_DRAWN = 5
_TONES = {"accepted": "good", "rejected": "bad", "duplicate": "twin", "failed": "fail"}


@dataclass(frozen=True, slots=True)
class Place:
    """An example on the map."""

    x: float
    y: float
    id: str
    group: str
    text: str


def write(path: Path, about: Mapping[str, Any], told: Mapping[str, Any], places: Sequence[Place] = ()) -> None:
    """Write the page.

    Raises:
        UserError: when the file is not called .html, or its folder is missing.
        StorageError: when the disk is full or fails.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError("the report is a web page", where=str(path), expected="a file name that ends in .html")
    if not path.absolute().parent.is_dir():
        raise UserError("no such folder", where=str(path.parent), remedy="make it first")
    if path.is_dir():
        raise UserError("is a folder", where=str(path), expected="a file name that ends in .html")
    text = page(about, told, places)
    with storage_errors(path):
        path.write_text(text, encoding="utf-8", errors="replace")


def page(about: Mapping[str, Any], told: Mapping[str, Any], places: Sequence[Place] = ()) -> str:
    """The page as text.

    Args:
        about: `name`, `sm`, `digest`, `license`, `seeds` and `statuses` (counts by state and by status).
        told: the figures, as `report.json` has them.
        places: examples on the map.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"count": _count, "percent": _percent, "figure": _figure, "cut": charts.cut}
    groups, points = _points(places)
    lost = Counter[str]()
    for journey in told["journeys"]:
        if journey["outcome"] != "accepted":
            lost[journey["outcome"]] += journey["drafts"]
    return environment.get_template("report.html").render(
        about=about,
        told=told,
        lost=sorted(lost.items(), key=lambda item: (-item[1], item[0])),
        flow=journeys_chart(told["journeys"]),
        skills=_rates(told["shares"]["skill"]),
        agents=_spent(told["shares"]["agent"]),
        lengths={name: _lengths(name, found) for name, found in told["lengths"].items() if found},
        near={
            name: _similarities(name, bins)
            for name, bins in told["near-duplicates"]["similarity"].items()
            if sum(one["count"] for one in bins) >= _DRAWN
        },
        openings=_openings(told["templates"]),
        alone=_alone(told["agreement"]["verifiers"]),
        map=charts.scatter(points, "Map of the accepted examples", "Neighbours mean similar things.") if points else "",
        groups=groups,
        rows=_ROWS,
        table=table_page.section(told["table"]) if told.get("table") else "",
    )


def links(journeys: Iterable[Mapping[str, Any]]) -> list[charts.Link]:
    """Journeys as streams between their stops; what is rare among skills and outcomes is put together."""
    order = list(_TONES)
    journeys = sorted(journeys, key=lambda one: order.index(one["outcome"].split(":")[0]))
    skills = _common(((one["skill"], one["drafts"]) for one in journeys), _SKILLS)
    ends = _common(((one["outcome"], one["drafts"]) for one in journeys), _OUTCOMES)
    split = {end.split(":")[0] for end in ends}
    out = []
    for one in journeys:
        status = one["outcome"].split(":")[0]
        stops = [one[stop] for stop in STOPS]
        if stops[1] not in skills:
            stops[1] = "other skills"
        if stops[3] not in ends:
            stops[3] = f"{status}: other reasons" if status in split else status
        out += [
            charts.Link(column, source, target, one["drafts"], _TONES[status])
            for column, (source, target) in enumerate(pairwise(stops))
        ]
    return out


def journeys_chart(journeys: Sequence[Mapping[str, Any]]) -> Markup | str:
    """Where the drafts went, as streams; nothing without a draft."""
    if not journeys:
        return ""
    found = links(journeys)
    sizes: Counter[str] = Counter()
    for link in found:
        if link.column == len(STOPS) - 2:
            sizes[link.target] += int(link.value)
    order = list(_TONES)
    ends = sorted(sizes, key=lambda name: (order.index(name.split(":")[0]), "other reasons" in name, -sizes[name]))
    desc = f"{sizes['accepted']:,} of {sizes.total():,} drafts were accepted; the table below has the numbers."
    heads = ("kind of seed", "skill", "last step taken", "what became of it")
    return charts.sankey(found, heads, "Where the drafts went", desc, ends)


def _common(pairs: Iterable[tuple[str, int]], most: int) -> set[str]:
    counts = Counter[str]()
    for name, count in pairs:
        counts[name] += count
    ordered = sorted(counts, key=lambda name: (name != "accepted", -counts[name], name))
    return set(ordered if len(ordered) <= most else ordered[: most - 1])


def _rates(shares: Sequence[Mapping[str, Any]]) -> Markup | str:
    drawn = sorted(
        (one for one in shares if one["drafts"]), key=lambda one: (-one["rate"], -one["drafts"], one["name"])
    )
    rows = [
        charts.Bar(
            one["name"], one["rate"], f"{one['rate']:.0%}", one["low"], one["high"], "good",
            f"{one['name']}: {one['accepted']:,} of {one['drafts']:,} accepted, "
            f"95 % interval {one['low']:.0%} to {one['high']:.0%}",
        )
        for one in drawn[:_ROWS]
    ]  # fmt: skip
    return charts.bars(rows, "Share of drafts accepted, by skill", most=1.0) if rows else ""


def _spent(agents: Sequence[Mapping[str, Any]]) -> Markup | str:
    drawn = [one for one in agents if one["tokens"]][:_BARS]
    rows = [charts.Bar(one["name"], one["tokens"], _count(one["tokens"])) for one in drawn]
    return charts.bars(rows, "SM tokens by agent") if rows else ""


def _lengths(name: str, found: Mapping[str, Any]) -> Markup:
    bins = [charts.Bin(f"{one['from']:,}", f"{one['to']:,}", one["count"]) for one in found["histogram"]]
    what = name.removesuffix("-words")
    return charts.histogram(
        bins, f"Words in each {what}", f"Of {found['n']:,}; half have {_median(found)} or less.", "words"
    )


def _median(found: Mapping[str, Any]) -> str:
    return f"{found['quantiles']['0.5']:,}"


def _similarities(name: str, bins: Sequence[Mapping[str, Any]]) -> Markup:
    drawn = [charts.Bin(f"{one['from']:.2f}", f"{one['to']:.2f}", one["count"]) for one in bins]
    return charts.histogram(drawn, f"Similarity of duplicates, {name}", unit="similarity")


def _openings(found: Mapping[str, Any] | None) -> Markup | str:
    if found is None:
        return ""
    rows = [charts.Bar(one["text"], one["share"], f"{one['share']:.1%}") for one in found["openings"]]
    return charts.bars(rows, "Commonest openings of instructions")


def _alone(verifiers: Sequence[Mapping[str, Any]]) -> Markup | str:
    drawn = sorted((one for one in verifiers if one["no"]), key=lambda one: (-one["no"], one["name"]))[:_BARS]
    rows = [charts.Bar(one["name"], one["no"], f"{one['no']:,}", tone="bad") for one in drawn]
    return charts.bars(rows, "How often each verifier said no") if rows else ""


def _points(places: Sequence[Place]) -> tuple[list[str], list[charts.Point]]:
    """The commonest groups by name, and the points; what is in none of them is the last group."""
    sizes = Counter(place.group for place in places)
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    if len(names) > _GROUPS:
        names = [*names[: _GROUPS - 1], "others"]
    points = [
        charts.Point(
            one.x, one.y, names.index(one.group) if one.group in names else len(names) - 1,
            f"{one.id[:12]} · {one.group} · {charts.cut(one.text, 160)}",
        )
        for one in places
    ]  # fmt: skip
    return names, points


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
