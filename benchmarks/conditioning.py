"""What a persona in the prompt is worth: the same calls with a person each, and with none.

    python benchmarks/conditioning.py --out conditioning.json

The embedded SM (or any folder of weights, `--path`) is given one task `--calls` times: once for nobody, once for the
members of the shipped sets in turn. Task, sampling and sampler seeds are the same. Told are the share of different
bigrams (distinct-2) and the mean cosine of two outputs, with the difference and its 95 % interval: calls are drawn with
replacement, the same ones in both arms (bootstrap), and each that is drawn counts once.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
from machine import markdown, save, say

from understudy.agents import load_catalog
from understudy.evals.diversity import distinct
from understudy.models import SM, close_sms, open_embedder, open_sms
from understudy.models.sm import Constraint, Request
from understudy.nouns import Persona, Seed
from understudy.personas import load_set, merged, shipped_sets
from understudy.recipe import Recipe, Source
from understudy.sms import EmbeddedSM, TransformersSM

_ROUNDS = 2000


def people(number: int) -> list[Persona]:
    """Members of the shipped sets, set by set in turn."""
    members = merged([load_set(name) for name in shipped_sets()], "all").personas
    step = max(1, len(members) // number)
    return [members[place * step % len(members)] for place in range(number)]


async def outputs(sm: SM, task: str, who: list[Persona | None]) -> list[str]:
    """What the SM writes for each of these, without the marker."""
    agent = next(one for one in load_catalog() if one.name == f"instruct/{task}")
    prompt, requests = agent.prompt, []
    for number, persona in enumerate(who):
        text = persona.text if persona else ""
        messages = agent.messages(Seed.of("persona", text, "benchmark"), None, persona=text)
        form = f"{re.escape(prompt.marker or '')} {prompt.form() or '[^~]{12,}'}"
        requests.append(Request(messages, prompt.sampling, number, Constraint("regex", form)))
    replies = await asyncio.gather(*map(sm.complete, requests))
    return [reply.text.removeprefix(prompt.marker or "").strip() for (reply,) in replies]


def compare(plain: list[str], conditioned: list[str], *, seed: int = 0) -> dict[str, dict[str, float]]:
    """By measure: its value in each arm, the difference (with personas less without), and the interval of that."""
    embedder = open_embedder("embedded")
    arms = []
    for texts in (plain, conditioned):
        vectors = embedder.embed(texts)
        arms.append(([text.casefold().split() for text in texts], vectors @ vectors.T))

    def bigrams(arm: Any, picks: Any) -> float:
        return distinct([arm[0][place] for place in picks], 2)

    def likeness(arm: Any, picks: Any) -> float:
        cosines = arm[1][np.ix_(picks, picks)]
        return float((cosines.sum() - np.trace(cosines)) / (len(picks) * (len(picks) - 1)))

    measures: dict[str, Callable[[Any, Any], float]] = {"distinct-2": bigrams, "mean cosine": likeness}
    everything, rng = np.arange(len(plain)), np.random.default_rng(seed)
    drawn = [np.unique(rng.integers(0, len(plain), len(plain))) for _ in range(_ROUNDS)]
    out = {}
    for name, measure in measures.items():
        without, with_them = (measure(arm, everything) for arm in arms)
        gaps = [measure(arms[1], picks) - measure(arms[0], picks) for picks in drawn]
        low, high = np.percentile(gaps, [2.5, 97.5])
        out[name] = {
            "without": without, "with": with_them, "gap": with_them - without, "low": float(low), "high": float(high),
        }  # fmt: skip
    return out


async def measure(tasks: list[str], calls: int, path: str | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """The comparison for each task."""
    spec = TransformersSM(backend="transformers", path=path, batch_size=64) if path else EmbeddedSM(batch_size=64)
    recipe = Recipe(name="conditioning", seeds=(Source(path="."),), accept=1, sm=spec)
    sms = await open_sms(recipe, None)
    found = {}
    try:
        for task in tasks:
            plain = await outputs(sms["sm"], task, [None] * calls)
            conditioned = await outputs(sms["sm"], task, list(people(calls)))
            for texts in (plain, conditioned):
                say(f"{task}: " + " | ".join(texts[:3]))
            found[task] = compare(plain, conditioned)
            say(f"{task}: {found[task]}")
    finally:
        await close_sms(sms)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="ask-assistant,math-problem,logic-puzzle")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--path", help="a folder of weights; default: the embedded SM")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = asyncio.run(measure(options.tasks.split(","), options.calls, options.path))
    rows = [
        [f"{task}, {name}", f"{one['without']:.3f}", f"{one['with']:.3f}",
         f"{one['gap']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"]
        for task, by_name in found.items() for name, one in by_name.items()
    ]  # fmt: skip
    print(markdown(["task, measure", "nobody", "a person each", "difference (95 %)"], rows))
    settings = {"calls": options.calls, "sm": options.path or "embedded"}
    save(options.out, "conditioning", settings, found, "transformers")


if __name__ == "__main__":
    main()
