"""A synthetic table beside the real one on a page: privacy first, then fidelity, then what a model learns from it.

It renders plain figures, as `evals/table_figures.py` has them and JSON keeps them. The page needs nothing else, runs no
script and asks no network; names of columns and categories come from strangers' files, and are escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from understudy.corpus.storage import storage_errors
from understudy.errors import UserError
from understudy.traces import charts, table_charts

_TEMPLATES = Path(__file__).parent / "templates"
_COLUMNS = 24
"""Most columns that are drawn."""
_PAIRS = 12
_SIDES = ("real", "synthetic")
_NAMES = {
    "exact-copies": "exact copies", "near-copies": "near-copies", "text-copies": "copied sensitive texts",
    "closest-record": "distance to the closest record", "distance-ratio": "first over second distance",
    "hit-rate": "hit rate at the fifth percentile", "attack-auc": "membership attack, AUC",
    "canaries": "planted rows that came back", "k-anonymity": "smallest group of look-alikes",
    "singled-out": "rows that single someone out", "text-overlap": "longest run of sensitive words",
}  # fmt: skip


def write(path: Path, figures: Mapping[str, Any], name: str) -> None:
    """Write the page.

    Raises:
        UserError: when the file is not called .html, or its folder is missing.
        StorageError: when the disk is full or fails.
    """
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise UserError("the page is a web page", where=str(path), expected="a file name that ends in .html")
    if not path.absolute().parent.is_dir():
        raise UserError("no such folder", where=str(path.parent), remedy="make it first")
    text = page(figures, name)
    with storage_errors(path):
        path.write_text(text, encoding="utf-8", errors="replace")


def page(figures: Mapping[str, Any], name: str) -> str:
    """The page as text; `name` is what the table is called."""
    return _environment().get_template("table.html").render(name=name, section=section(figures), told=figures)


def section(figures: Mapping[str, Any]) -> Markup:
    """The body of it, to stand in another page that has `templates/table.css`."""
    fidelity, privacy = figures["fidelity"], figures["privacy"]
    relations = fidelity["relations"]
    names = relations["names"][:_COLUMNS]
    worst = sorted(fidelity["pairs"], key=lambda one: -one["value"])[:_PAIRS]
    histogram, roc = privacy["histogram"], privacy["roc"]
    drawn = [
        (name, table_charts.pairs(one["bins"], one["real"], one["synthetic"], _SIDES, f"Values of {name}"))
        for one in fidelity["histograms"][:_COLUMNS]
        for name in [one["name"]]
    ]
    told = [one["auc"]["mean"] for one in figures["detection"]]
    text = _environment().get_template("table_section.html").render(
        told=figures,
        clearest=max(told, key=lambda auc: abs(auc - 0.5), default=None),
        columns={one["name"]: one for one in fidelity["columns"]},
        drawn=drawn,
        more=max(0, len(fidelity["histograms"]) - _COLUMNS),
        worst=worst,
        heat=table_charts.heat(
            names, relations["real"], relations["synthetic"], "Differences of relations",
            "Synthetic minus real, for every pair of columns; the table beside it has the worst in numbers.",
        ) if len(names) > 1 else "",
        closest=table_charts.pairs(
            _edges(histogram["edges"]), histogram["fresh"], histogram["synthetic"], ("fresh real", "synthetic"),
            "Distance to the closest row of the sample",
        ) if histogram else "",
        roc=table_charts.roc(roc["false"], roc["true"], "The membership attack") if roc else "",
    )  # fmt: skip
    return Markup(text)  # noqa: S704  every value was escaped by the template


def called(name: str) -> str:
    """A finding's name in words."""
    return _NAMES.get(name, name)


def figure(value: float | None, name: str = "") -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if name in {"hit-rate", "singled-out"}:
        return f"{value:.1%}"
    whole = float(value).is_integer() and name not in {"closest-record", "attack-auc"}
    return f"{value:,.0f}" if whole else f"{value:.3f}"


def verdict(passed: bool | None) -> str:
    """A verdict in words."""
    return "not judged" if passed is None else "passed" if passed else "failed"


def _edges(edges: list[float]) -> list[str]:
    return [f"{low:.3f}–{high:.3f}" for low, high in pairwise(edges)]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"called": called, "figure": figure, "verdict": verdict, "cut": charts.cut}
    return environment
