"""The graph as a picture: how many drafts went from each stage to the next, and how many were lost on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from understudy.traces.viewer.tables import Stage

WIDTH, ROW, LEFT, LONGEST, BAR = 860.0, 84.0, 150.0, 330.0, 14.0
_THIN = 1.5


@dataclass(frozen=True, slots=True)
class Node:
    """A stage as a bar as long as its drafts are many."""

    stage: Stage
    y: float
    length: float


@dataclass(frozen=True, slots=True)
class Ribbon:
    """Drafts on their way from one stage to another, or out."""

    way: tuple[str, str]
    drafts: int
    outline: str
    """Of the shape, as an SVG path."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Drafts that ended at a stage for one reason, written at its right."""

    stage: str
    status: str
    reason: str
    drafts: int
    y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """All of it, in units of the picture."""

    height: float
    nodes: tuple[Node, ...]
    ribbons: tuple[Ribbon, ...]
    losses: tuple[Loss, ...]
    more: tuple[Loss, ...]
    """For each stage whose reasons do not all fit, how many drafts the others have."""


def chart(stages: list[Stage], ways: Counter[tuple[str, str]]) -> Chart:
    """Lay the stages out from top to bottom, the losses at the right."""
    accepted = sum(count for (_, to), count in ways.items() if to == "accepted")
    ends = [*stages, Stage("accepted", accepted, {}, 0, 0, None)]
    scale = LONGEST / max(1, *(stage.drafts for stage in ends))
    nodes = {
        stage.name: Node(stage, 24 + place * ROW, max(_THIN, stage.drafts * scale)) for place, stage in enumerate(ends)
    }
    order = {name: place for place, name in enumerate(nodes)}
    leaving, entering, deepest = dict.fromkeys(nodes, LEFT), dict.fromkeys(nodes, LEFT), dict.fromkeys(nodes, 0.0)
    ribbons, losses, more = [], list[Loss](), list[Loss]()
    # From left to right what goes on, the nearest stage first; what is lost leaves at the right.
    for (one, other), count in sorted(ways.items(), key=lambda item: order.get(item[0][1], 99)):
        if one not in nodes:
            continue
        thick, at, y = max(_THIN, count * scale), leaving[one], nodes[one].y + BAR
        leaving[one] += count * scale
        if other in nodes:
            to, end = entering[other], nodes[other].y
            entering[other] += count * scale
            bend = (y + end) / 2
            outline = (
                f"M{at:.1f},{y:.1f} C{at:.1f},{bend:.1f} {to:.1f},{bend:.1f} {to:.1f},{end:.1f} "
                f"L{to + thick:.1f},{end:.1f} C{to + thick:.1f},{bend:.1f} {at + thick:.1f},{bend:.1f} "
                f"{at + thick:.1f},{y:.1f} Z"
            )
        else:
            # As thick as they are many, one below the other, but within the room between two stages.
            out, deep = LEFT + LONGEST + 40, min(26.0, thick)
            top = y + 18 + deepest[one]
            deepest[one] += deep + 2
            outline = (
                f"M{at:.1f},{y:.1f} "
                f"C{at:.1f},{top + deep:.1f} {at:.1f},{top + deep:.1f} {at + thick + 30:.1f},{top + deep:.1f} "
                f"L{out:.1f},{top + deep:.1f} L{out:.1f},{top:.1f} L{at + thick + 30:.1f},{top:.1f} "
                f"C{at + thick:.1f},{top:.1f} {at + thick:.1f},{top:.1f} {at + thick:.1f},{y:.1f} Z"
            )
        ribbons.append(Ribbon((one, other), count, outline))
    for node in nodes.values():
        listed = list(node.stage.lost.items())
        shown = listed if len(listed) <= 4 else listed[:3]
        for place, ((status, reason), count) in enumerate(shown):
            losses.append(Loss(node.stage.name, status, reason, count, node.y + BAR + 14 + place * 16))
        if rest := listed[len(shown) :]:
            left = Loss(node.stage.name, "", f"{len(rest)} more reasons", sum(n for _, n in rest), node.y + BAR + 62)
            more.append(left)
    return Chart(len(nodes) * ROW + 10, tuple(nodes.values()), tuple(ribbons), tuple(losses), tuple(more))
