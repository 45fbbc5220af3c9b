"""A map of a persona set: who stands near whom, which topics lie among them, and which lie alone.

Embeddings are laid out in two dimensions by t-SNE (van der Maaten and Hinton 2008); distances on the map mean something
between neighbours only. Clusters are k-means on the map, named by the words that set them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.corpus.storage import storage_errors
from understudy.errors import PersonaError
from understudy.personas.coverage import Coverage, Share
from understudy.personas.sets import PersonaSet

_MOST = 3000
"""Personas that are drawn; of more, evenly spaced ones in the set's order."""
_CLUSTERS = 12
_WORDS = 2
# Colours that people who see no red or green can tell apart (Okabe and Ito 2008), and lighter ones.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31",
            "#7f7f7f", "#bcbd22", "#17becf", "#9467bd", "#393b79", "#637939")  # fmt: skip
_GAP = "#d55e00"
_SIDE = 800


@dataclass(frozen=True, slots=True)
class Map:
    """Places in 0..1, for personas and for topics."""

    personas: NDArray[np.float64]
    """Shape (personas drawn, 2)."""
    drawn: tuple[int, ...]
    """The numbers of these personas in the set."""
    topics: NDArray[np.float64]
    """Shape (topics, 2)."""
    cluster: NDArray[np.int64]
    """Of each persona that is drawn."""
    labels: tuple[str, ...]
    """Of each cluster."""


def lay_out(made: PersonaSet, found: Coverage) -> Map:
    """Places for a set and its topics; the same each time."""
    from sklearn.cluster import KMeans
    from sklearn.manifold import TSNE

    step = max(1, -(-len(made.personas) // _MOST))
    drawn = tuple(range(0, len(made.personas), step))
    both = np.concatenate([found.persona_vectors[list(drawn)], found.topic_vectors])
    if len(both) > 3:
        near = min(30.0, (len(both) - 1) / 3)
        places = TSNE(perplexity=near, init="pca", random_state=0).fit_transform(both).astype(np.float64)
    else:
        places = np.arange(2.0 * len(both)).reshape(-1, 2)
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - low) / np.where(high > low, high - low, 1)
    number = min(_CLUSTERS, len(drawn), max(1, round((len(drawn) / 2) ** 0.5)))
    cluster = KMeans(number, n_init=4, random_state=0).fit_predict(places[: len(drawn)]).astype(np.int64)
    labels = _labels([made.personas[place].text for place in drawn], cluster, number)
    return Map(places[: len(drawn)], drawn, places[len(drawn) :], cluster, labels)


def draw(path: Path, made: PersonaSet, found: Coverage, told: Sequence[Share]) -> None:
    """Write the map as a page (`.html`, with the figures) or a picture (`.png`, `.svg`, `.pdf`).

    Raises:
        PersonaError: when the suffix is none that can be drawn, or the folder is missing.
        StorageError: when the disk is full.
    """
    suffix = path.suffix.lower()
    if suffix not in (".html", ".png", ".svg", ".pdf"):
        raise PersonaError(f"cannot draw a `{path.suffix}` file", where=str(path), expected=".html, .png, .svg or .pdf")
    if not path.absolute().parent.is_dir():
        raise PersonaError("no such folder", where=str(path.parent))
    where = lay_out(made, found)
    with storage_errors(path):
        if suffix == ".html":
            path.write_text(page(made, found, told, where), encoding="utf-8")
        else:
            _picture(path, made, found, where)


def page(made: PersonaSet, found: Coverage, told: Sequence[Share], where: Map) -> str:
    """One HTML file that needs nothing else, without a script."""
    dots = []
    for number, place, cluster in zip(where.drawn, where.personas, where.cluster, strict=True):
        x, y = _pixels(place)
        text = escape(made.personas[number].text)
        dots.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{_COLOURS[cluster]}"><title>{text}</title></circle>')
    for one, place in zip(found.topics, where.topics, strict=True):
        x, y = _pixels(place)
        gap = one.similarity < found.reach
        kind = ' class="gap"' if gap else ""
        said = f"{one.topic.name}: {'a gap, ' if gap else ''}{one.similarity:.2f} to {one.nearest.text}"
        dots.append(f'<rect x="{x - 5}" y="{y - 5}" width="10" height="10"{kind}><title>{escape(said)}</title></rect>')
        if gap or len(found.topics) <= 40:
            # Towards the middle, or it would run out of the picture.
            at = f'x="{x - 8}" text-anchor="end"' if x > _SIDE / 2 else f'x="{x + 8}"'
            dots.append(f'<text {at} y="{y + 4}"{kind}>{escape(_short(one.topic.headings[-1]))}</text>')
    for cluster, label in enumerate(where.labels):
        members = where.personas[where.cluster == cluster]
        x, y = _pixels(np.median(members, axis=0))
        dots.append(f'<text x="{x}" y="{y - 12}" class="name" fill="{_COLOURS[cluster]}">{escape(label)}</text>')
    gaps = [(one.topic.name, f"{one.similarity:.2f}", one.nearest.text) for one in found.gaps]
    people = [
        (
            one.attribute,
            one.value,
            str(one.count),
            f"{one.share:.1%}",
            "" if one.target is None else f"{one.target:.1%}",
            "alarm" if one.alarm else "",
        )
        for one in told
    ]
    figures = (
        f"{len(made.personas):,} personas, {len(found.topics):,} topics; {found.share:.0%} of the topics have somebody "
        f"within {found.reach:g}, evenness {found.evenness:.2f}, {len(found.idle):,} personas are near no topic."
    )
    shared = ("attribute", "value", "personas", "share", "wanted", "")
    return _PAGE.format(
        title=escape(made.name),
        about=escape(made.description),
        figures=escape(figures),
        side=_SIDE,
        dots="\n".join(dots),
        gaps=_table(("gap", "nearest", "who is nearest"), gaps) if gaps else "<p>No gaps.</p>",
        people=f"<h2>Who they are</h2>\n{_table(shared, people)}" if people else "",
    )


def _picture(path: Path, made: PersonaSet, found: Coverage, where: Map) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained")
    axis = figure.subplots()
    axis.scatter(
        where.personas[:, 0], where.personas[:, 1], s=18, c=[_COLOURS[cluster] for cluster in where.cluster], alpha=0.8
    )
    gap = np.array([one.similarity < found.reach for one in found.topics])
    for which, colour, label in ((~gap, "#222222", "topic"), (gap, _GAP, "topic that is a gap")):
        if which.any():
            axis.scatter(where.topics[which, 0], where.topics[which, 1], s=36, marker="s", c=colour, label=label)
    for one, place, alone in zip(found.topics, where.topics, gap, strict=True):
        if alone or len(found.topics) <= 40:
            name = _short(one.topic.headings[-1]).replace("$", r"\$")
            axis.annotate(name, place, xytext=(5, 3), textcoords="offset points", fontsize=7,
                          color=_GAP if alone else "#222222")  # fmt: skip
    for cluster, label in enumerate(where.labels):
        middle = np.median(where.personas[where.cluster == cluster], axis=0)
        axis.annotate(label.replace("$", r"\$"), middle, fontsize=10, weight="bold", color=_COLOURS[cluster],
                      ha="center")  # fmt: skip
    title = f"{made.name}: {len(made.personas):,} personas cover {found.share:.0%} of {len(found.topics):,} topics"
    axis.set_title(title.replace("$", r"\$"), loc="left")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=120)


def _labels(texts: list[str], cluster: NDArray[np.int64], number: int) -> tuple[str, ...]:
    """For each cluster, the words that stand more often in it than elsewhere."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b")  # noqa: S106 - no password
    try:
        weights = words.fit_transform(texts)
    except ValueError:  # no words at all
        return ("",) * number
    names, usual = words.get_feature_names_out(), np.asarray(weights.mean(axis=0)).ravel()
    out = []
    for one in range(number):
        apart = np.asarray(weights[cluster == one].mean(axis=0)).ravel() - usual
        out.append(", ".join(names[place] for place in np.argsort(-apart, kind="stable")[:_WORDS]))
    return tuple(out)


def _pixels(place: NDArray[np.float64]) -> tuple[int, int]:
    x, y = (20 + place * (_SIDE - 160 * np.array([1, 0]) - 40)).round().astype(int).tolist()
    return x, y


def _short(name: str) -> str:
    return name if len(name) <= 32 else name[:31] + "…"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}: coverage</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c1c1c; --soft: #666; --line: #ddd; --ground: #fff; --gap: #b84a00; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8e8e8; --soft: #a5a5a5; --line: #444; --ground: #17181a; --gap: #ff8c42; }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto;
  max-width: 860px; padding: 16px; }}
svg {{ width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }}
rect {{ fill: var(--ink); }} rect.gap {{ fill: var(--gap); }}
text {{ font: 11px system-ui, sans-serif; fill: var(--soft); }} text.gap {{ fill: var(--gap); font-weight: 600; }}
text.name {{ font-size: 15px; font-weight: 700; text-anchor: middle; fill: revert-layer; paint-order: stroke;
  stroke: var(--ground); stroke-width: 4px; }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }}
p.soft {{ color: var(--soft); }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{about}</p>
<p>{figures}</p>
<svg viewBox="0 0 {side} {side}" role="img" aria-label="Map of personas and topics">
{dots}
</svg>
<p class="soft">A circle is a persona, coloured by cluster; a square is a topic, orange where nobody is within reach.
Point at one to read it. Only distances between neighbours mean something.</p>
<h2>Gaps</h2>
{gaps}
{people}
</main>
</body>
</html>
"""
