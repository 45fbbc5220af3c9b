"""Charts as inline SVG: bars, histograms, scatter maps, and flows between columns.

Each function returns one `<svg>` element as `Markup`, so that templates put it in as it is; every text that is given
is escaped here. Nothing is coloured here: parts carry a class (`tone-good`, `group-3`, …) and paint with
`currentColor`, so that a page's style sheet decides, in light and in dark. Lengths are in the units of the viewBox;
the charts are as wide as what holds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

_LINE = 20
_CHARS = 26  # of a label of bars, before it is cut
_TALLEST = 420.0
_THIN = 0.75
_GAP, _LABEL = 6.0, 15.0
_Node = tuple[int, str]
_Flow = tuple[int, str, str, str]  # column, source, target, tone


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its label."""

    label: str
    value: float
    shown: str
    """The value as people read it."""
    low: float | None = None
    """Bounds of an interval, drawn as a line."""
    high: float | None = None
    tone: str = "plain"
    title: str = ""
    """More, for who points at it."""


@dataclass(frozen=True, slots=True)
class Bin:
    """How many lie from one value to another."""

    start: str
    end: str
    count: int


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a map, at a place in 0..1."""

    x: float
    y: float
    group: int
    title: str


@dataclass(frozen=True, slots=True)
class Link:
    """A stream from a node in one column to a node in the next."""

    column: int
    """Of the source; the target is in the one after it."""
    source: str
    target: str
    value: float
    tone: str = "plain"


def bars(rows: Sequence[Bar], title: str, desc: str = "", most: float | None = None) -> Markup:
    """Horizontal bars, one line each; `most` is the value of a full line, the largest without."""
    left, right, width = 184.0, 62.0, 460.0
    room = width - left - right
    full = most or max((row.high or row.value for row in rows), default=0.0) or 1.0
    parts = []
    for place, row in enumerate(rows):
        y = place * _LINE
        length = room * min(1.0, row.value / full)
        parts.append(
            Markup(
                '<g><title>{}</title><text x="{:.0f}" y="{}" class="label" text-anchor="end">{}</text>'
                '<rect x="{:.0f}" y="{}" width="{:.1f}" height="{}" class="mark tone-{}"/>'
            ).format(
                row.title or f"{row.label}: {row.shown}", left - 8, y + 14, cut(row.label, _CHARS), left, y + 4,
                max(_THIN, length), _LINE - 7, row.tone,
            )
        )  # fmt: skip
        end = length
        if row.low is not None and row.high is not None:
            low, end = (room * min(1.0, bound / full) for bound in (row.low, row.high))
            parts.append(rule(left + low, y + _LINE / 2 + 0.5, left + end, y + _LINE / 2 + 0.5, "whisker"))
        at = left + max(length, end) + 6
        parts.append(Markup('<text x="{:.1f}" y="{}" class="value">{}</text></g>').format(at, y + 14, row.shown))
    return svg(width, max(1, len(rows)) * _LINE, title, desc, parts, "bars")


def histogram(bins: Sequence[Bin], title: str, desc: str = "", unit: str = "") -> Markup:
    """Upright bars side by side, with the first, middle and last edge written below."""
    width, height, top, foot = 460.0, 150.0, 16.0, 34.0
    most = max((one.count for one in bins), default=0) or 1
    room = height - top - foot
    step = (width - 2) / max(1, len(bins))
    parts = [Markup('<text x="0" y="10" class="value">{}</text>').format(f"at most {most:,}")]
    for place, one in enumerate(bins):
        tall = room * one.count / most
        said = one.start if one.start == one.end else f"{one.start}–{one.end}"
        parts.append(
            Markup(
                '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="mark tone-plain">'
                "<title>{}</title></rect>"
            ).format(place * step, height - foot - tall, max(_THIN, step - 1), tall, f"{said} {unit}: {one.count:,}")
        )
    parts.append(rule(0, height - foot + 0.5, width, height - foot + 0.5, "axis"))
    if bins:
        middle = len(bins) // 2
        edges = [(0.0, bins[0].start, "start"), (width, bins[-1].end, "end")]
        if len(bins) > 2:
            edges.insert(1, (middle * step, bins[middle].start, "middle"))
        parts += [
            Markup('<text x="{:.1f}" y="{}" class="value" text-anchor="{}">{}</text>').format(x, 131, anchor, text)
            for x, text, anchor in edges
        ]
        parts.append(
            Markup('<text x="{}" y="147" class="value" text-anchor="middle">{}</text>').format(width / 2, unit)
        )
    return svg(width, height, title, desc, parts, "histogram")


def scatter(points: Iterable[Point], title: str, desc: str = "") -> Markup:
    """A square map; a point's title is shown to who points at it."""
    side, edge = 560.0, 10.0
    parts = [
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" class="dot group-{}"><title>{}</title></circle>').format(
            edge + point.x * (side - 2 * edge), edge + point.y * (side - 2 * edge), point.group, point.title
        )
        for point in points
    ]
    return svg(side, side, title, desc, parts, "scatter")


def sankey(
    links: Sequence[Link], columns: Sequence[str], title: str, desc: str = "", ends: Sequence[str] = ()
) -> Markup:
    """Streams between columns of nodes, as wide as their values; each node is as tall as what flows through it.

    Args:
        links: streams with the same ends are put together, tone by tone; where tones lie side by side, the one that
            comes first here is above.
        columns: a heading for each column of nodes.
        title: what it shows.
        desc: the same in a sentence, for who cannot see it.
        ends: nodes of the last column in the order in which they are wanted; others follow by size.
    """
    width, label, head, bar = 1080.0, 215.0, 26.0, 10.0
    flows: dict[_Flow, float] = defaultdict(float)
    for link in links:
        flows[link.column, link.source, link.target, link.tone] += link.value
    heights = node_values(links)
    if not flows:
        return svg(width, head, title, desc, [], "sankey")
    last = max(column for column, _ in heights)
    whole = max(sum(value for (column, _), value in heights.items() if column == place) for place in range(last + 1))
    scale = _TALLEST / whole
    tops: dict[_Node, float] = {}
    order: dict[_Node, int] = {}
    tallest = 0.0
    for column in range(last, -1, -1):
        names = [name for place, name in heights if place == column]
        names.sort(key=lambda name: _rank(column, name, last, ends, flows, order, heights))
        y, above = head, 0.0
        for place, name in enumerate(names):
            order[column, name] = place
            tall = heights[column, name] * scale
            # Labels stand beside the middles of their nodes, a line apart at least.
            y += max(_GAP, _LABEL - (above + tall) / 2) if place else 0.0
            tops[column, name] = y
            y, above = y + tall, tall
        tallest = max(tallest, y + _GAP)
    step = (width - label - bar) / max(1, last)
    parts = [
        Markup('<text x="{:.0f}" y="12" class="head">{}</text>').format(place * step, heading)
        for place, heading in enumerate(columns)
    ]
    parts += _ribbons(flows, tops, order, scale, step, bar)
    for (column, name), value in heights.items():
        x, y, tall = column * step, tops[column, name], value * scale
        parts.append(
            Markup(
                '<g><title>{}</title><rect x="{:.1f}" y="{:.1f}" width="{}" height="{:.1f}" class="node"/>'
                '<text x="{:.1f}" y="{:.1f}" class="label">{} <tspan class="value">{}</tspan></text></g>'
            ).format(
                f"{name}: {value:,.0f}", x, y, bar, max(_THIN, tall), x + bar + 6, y + tall / 2 + 4, cut(name, 30),
                f"{value:,.0f}",
            )
        )  # fmt: skip
    return svg(width, tallest, title, desc, parts, "sankey")


def node_values(links: Iterable[Link]) -> dict[_Node, float]:
    """What flows through each node, by (column, name): what comes in, and of the first column what goes out."""
    out: dict[_Node, float] = defaultdict(float)
    for link in links:
        if link.column == 0:
            out[0, link.source] += link.value
        out[link.column + 1, link.target] += link.value
    return dict(out)


def cut(text: str, most: int) -> str:
    """A text on one line, of at most so many letters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def _rank(
    column: int, name: str, last: int, ends: Sequence[str], flows: dict[_Flow, float],
    order: dict[_Node, int], heights: dict[_Node, float],
) -> tuple[float, float, str]:  # fmt: skip
    """Where a node stands in its column: as high as what it flows into, so that streams cross little."""
    if column == last:
        wanted = ends.index(name) if name in ends else len(ends)
        return wanted, -heights[column, name], name
    mean = sum(
        value * order[column + 1, target]
        for (place, source, target, _), value in flows.items()
        if place == column and source == name
    )
    return mean / heights[column, name], -heights[column, name], name


def _ribbons(
    flows: dict[_Flow, float], tops: dict[_Node, float],
    order: dict[_Node, int], scale: float, step: float, bar: float,
) -> list[Markup]:  # fmt: skip
    """The streams, side by side at both ends in the order of the nodes they come from and go to."""
    leaves = _stacked(flows, tops, scale, lambda flow: (flow[0], flow[1]), lambda flow: order[flow[0] + 1, flow[2]])
    arrives = _stacked(flows, tops, scale, lambda flow: (flow[0] + 1, flow[2]), lambda flow: order[flow[0], flow[1]])
    out = []
    for flow, value in sorted(flows.items(), key=lambda item: -item[1]):
        column, source, target, tone = flow
        x, far, thick = column * step + bar, (column + 1) * step, max(_THIN, value * scale)
        y, end, bend = leaves[flow], arrives[flow], (column * step + bar + (column + 1) * step) / 2
        out.append(
            Markup('<path d="{}" class="stream tone-{}"><title>{}</title></path>').format(
                f"M{x:.1f} {y:.1f}C{bend:.1f} {y:.1f} {bend:.1f} {end:.1f} {far:.1f} {end:.1f}"
                f"v{thick:.1f}C{bend:.1f} {end + thick:.1f} {bend:.1f} {y + thick:.1f} {x:.1f} {y + thick:.1f}z",
                tone, f"{source} → {target}: {value:,.0f}",
            )
        )  # fmt: skip
    return out


def _stacked(
    flows: dict[_Flow, float], tops: dict[_Node, float], scale: float,
    node: Callable[[_Flow], _Node], far: Callable[[_Flow], int],
) -> dict[_Flow, float]:  # fmt: skip
    """Where each stream touches its node, those of a node one below the other; of equals, the first first."""
    used: dict[_Node, float] = defaultdict(float)
    out = {}
    for flow in sorted(flows, key=lambda flow: (flow[0], far(flow))):
        out[flow] = tops[node(flow)] + used[node(flow)]
        used[node(flow)] += flows[flow] * scale
    return out


def rule(x: float, y: float, far: float, end: float, kind: str) -> Markup:
    """A line from one point to another, of a class."""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(x, y, far, end, kind)


def svg(width: float, height: float, title: str, desc: str, parts: Sequence[Any], kind: str) -> Markup:
    """A drawing of its parts, with what it shows in words."""
    said = Markup("<title>{}</title>").format(title)
    if desc:
        said += Markup("<desc>{}</desc>").format(desc)
    return Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}" class="chart {}">{}{}</svg>').format(
        width, height, title, kind, said, Markup("").join(escape(part) for part in parts)
    )
