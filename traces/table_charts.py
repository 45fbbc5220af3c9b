"""Charts of a synthetic table beside a real one: pairs of bars, a heat map of differences, and the curve of an attack.

As in `charts.py`: nothing is coloured here, and every text is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from understudy.traces.charts import cut, rule, svg

_FULL = 0.6
"""Difference of two relations that is drawn at full strength."""
_ALL = 6
"""So many labels have room beside one another."""


def pairs(
    labels: Sequence[str], one: Sequence[float], other: Sequence[float], names: tuple[str, str], title: str,
    desc: str = "",
) -> Markup:  # fmt: skip
    """Upright bars, two for each label: shares of real rows and of synthetic ones."""
    width, height, top, foot = 460.0, 150.0, 16.0, 22.0
    most = max([*one, *other], default=0.0) or 1.0
    room, step = height - top - foot, width / max(1, len(labels))
    thick = max(1.0, step * 0.42)
    parts = [Markup('<text x="0" y="10" class="value">{}</text>').format(f"at most {most:.0%}")]
    for place, label in enumerate(labels):
        for side, (name, values) in enumerate(zip(names, (one, other), strict=True)):
            tall = room * values[place] / most
            parts.append(
                Markup(
                    '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="mark side-{}">'
                    "<title>{}</title></rect>"
                ).format(
                    place * step + step * 0.06 + side * thick, height - foot - tall, max(0.8, thick - 0.5), tall, side,
                    f"{label}: {values[place]:.1%} of {name} rows",
                )
            )  # fmt: skip
    parts.append(rule(0, height - foot + 0.5, width, height - foot + 0.5, "axis"))
    letters = max(3, int(step / 7.5))
    shown = range(len(labels)) if len(labels) <= _ALL else (0, len(labels) // 2, len(labels) - 1)
    for place in shown:
        if len(labels) <= _ALL:
            x, anchor, text = (place + 0.5) * step, "middle", cut(labels[place], letters)
        else:
            anchor = "start" if place == 0 else "end" if place == len(labels) - 1 else "middle"
            x = 0.0 if place == 0 else width if place == len(labels) - 1 else (place + 0.5) * step
            text = cut(labels[place], 18)
        parts.append(
            Markup('<text x="{:.1f}" y="{:.0f}" class="value" text-anchor="{}">{}</text>').format(
                x, height - 6, anchor, text
            )
        )
    return svg(width, height, title, desc, parts, "pairs")


def heat(
    names: Sequence[str], real: Sequence[Sequence[float]], synthetic: Sequence[Sequence[float]], title: str,
    desc: str = "",
) -> Markup:  # fmt: skip
    """Differences of the relations of all pairs, synthetic minus real: one square each, below the diagonal."""
    left, side = 118.0, 460.0
    step = min(34.0, (side - left) / max(1, len(names) - 1))
    foot = 20.0 if len(names) <= _ALL + 1 else 84.0
    height = step * max(1, len(names) - 1) + foot
    parts = []
    for row in range(1, len(names)):
        parts.append(
            Markup('<text x="{:.1f}" y="{:.1f}" class="value" text-anchor="end">{}</text>').format(
                left - 6, (row - 0.5) * step + 4, cut(names[row], 16)
            )
        )
        for column in range(row):
            gap = synthetic[row][column] - real[row][column]
            parts.append(
                Markup(
                    '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="cell {}" '
                    'fill-opacity="{:.2f}"><title>{}</title></rect>'
                ).format(
                    left + column * step, (row - 1) * step, step - 1.5, step - 1.5, "more" if gap > 0 else "less",
                    min(1.0, abs(gap) / _FULL),
                    f"{names[row]} and {names[column]}: {real[row][column]:.2f} real, "
                    f"{synthetic[row][column]:.2f} synthetic",
                )
            )  # fmt: skip
    for column, name in enumerate(names[:-1]):
        x, y = left + (column + 0.5) * step, height - foot + 14
        if foot == 20:
            how, letters = Markup('text-anchor="middle"'), max(2, int(step / 6.5))
        else:
            x, y = x + 4, y - 6
            how, letters = Markup('text-anchor="end" transform="rotate(-90 {:.1f} {:.1f})"').format(x, y), 12
        parts.append(
            Markup('<text x="{:.1f}" y="{:.1f}" class="value" {}>{}</text>').format(x, y, how, cut(name, letters))
        )
    return svg(side, height, title, desc, parts, "heat")


def roc(false: Sequence[float], true: Sequence[float], title: str, desc: str = "") -> Markup:
    """An attack's hits against its false alarms, and the diagonal of who only guesses."""
    side, edge = 300.0, 26.0
    room = side - 2 * edge

    def at(x: float, y: float) -> str:
        return f"{edge + x * room:.1f} {side - edge - y * room:.1f}"

    path = "M" + "L".join(at(x, y) for x, y in zip(false, true, strict=True))
    parts = [
        rule(edge, side - edge, side - edge, side - edge, "axis"),
        rule(edge, edge, edge, side - edge, "axis"),
        Markup('<path d="M{}L{}" class="guess"/>').format(at(0, 0), at(1, 1)),
        Markup('<path d="{}" class="curve"/>').format(path),
        Markup('<text x="{:.0f}" y="{:.0f}" class="value" text-anchor="middle">{}</text>').format(
            side / 2, side - 8, "fresh rows taken for members"
        ),
        Markup('<text x="{:.0f}" y="14" class="value">members found</text>').format(edge - 18),
    ]
    return svg(side, side, title, desc, parts, "roc")
