"""A sweep on one page: a picture, the arms in a table, and what more data may bring."""

from __future__ import annotations

import io
from pathlib import Path

import jinja2
import numpy as np

from understudy.training.curve import drawing
from understudy.training.sweep import Sweep


def write_page(found: Sweep, path: Path) -> None:
    """Write it as HTML that needs nothing else: no script, no address."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "pages")
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    arms = [(arm, found.gain(arm)) for arm in found.arms]
    best = min(found.arms, key=lambda arm: arm.loss)
    text = page.get_template("sweep.html").render(
        corpus=Path(found.corpus).name, over=found.over, arms=arms, best=best,
        base=sum(found.base) / len(found.base), held_out=len(found.base), picture=_picture(found),
        growths=list(found.growths()),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def _picture(found: Sweep) -> str:
    """Each arm's gain over the base with its interval; beside it, where shares vary, the curves."""
    curves = list(found.growths())
    with drawing() as figure_of:
        height = 1.2 + 0.35 * len(found.arms)
        figure = figure_of(figsize=(9 if curves else 6, max(3.0, height)), layout="constrained")
        axes = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
        for place, arm in enumerate(reversed(found.arms)):
            gain = found.gain(arm)
            axes[0].plot([gain.low, gain.high], [place, place], color="#2b6cb0")
            axes[0].plot(gain.mean, place, "o", color="#2b6cb0")
        axes[0].set_yticks(range(len(found.arms)), [arm.name for arm in reversed(found.arms)])
        axes[0].axvline(0, color="#888", linewidth=1)
        axes[0].set_xlabel("held-out loss minus the base's (95 % interval)")
        for rest, law in curves:
            members = [arm for arm in found.arms if rest.items() <= arm.changes.items()]
            label = ", ".join(f"{key}={value}" for key, value in rest.items()) or None
            (line,) = axes[1].plot([arm.rows for arm in members], [arm.loss for arm in members], "o", label=label)
            reach = np.geomspace(min(arm.rows for arm in members), 2 * law.rows, 50)
            axes[1].plot(reach, law.at(reach), color=line.get_color())
        if curves:
            axes[1].set(xscale="log", xlabel="training rows", ylabel="held-out loss (nats a token)")
            tried = sorted({arm.rows for arm in found.arms})
            axes[1].set_xticks(tried, [f"{rows:,}" for rows in tried])
            axes[1].set_xticks([], minor=True)
            if any(rest for rest, _ in curves):
                axes[1].legend(frameon=False)
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]
