"""What the tests of traces share: stories."""

from collections.abc import Callable
from typing import Any

import pytest

from understudy.nouns import Call, Example, Persona, Seed, Verdict
from understudy.traces.story import Step, Story

Make = Callable[..., Any]


@pytest.fixture
def call() -> Make:
    def make(key: str, agent: str = "instruct/why", **changes: Any) -> Call:
        values: dict[str, Any] = {
            "key": key, "agent": agent, "model": "tiny@0f1e", "reply": f"Reply {key}.", "seconds": 2.0,
            "messages": ({"role": "system", "content": "Secret rules."}, {"role": "user", "content": f"Secret ask {key}."}),
            "sampling": {"temperature": 0.7, "top_p": 0.9, "max_tokens": 64, "repetition_penalty": 1.05, "seed": 5},
            "usage": {"prompt": 100, "cached": 40, "completion": 20}, "at": 1_000.0,
        }  # fmt: skip
        return Call(**values | changes)

    return make


@pytest.fixture
def tale() -> Make:
    """A story of calls; those of one agent that follow one another with four messages are second tries."""

    def make(*calls: Call, **changes: Any) -> Story:
        seed = Seed.of("text", "Secret words of the seed.", "docs/a.md:3")
        payload = {
            "messages": [
                {"role": "user", "content": "Secret question?"},
                {"role": "assistant", "content": "Secret answer."},
            ]
        }
        example = Example(
            **{
                "id": Example.address("chat", payload, seed.id, 0), "kind": "chat", "payload": payload,
                "seed": seed.id, "draw": 0, "persona": Persona.of("A secret baker."), "parents": (),
                "path": tuple(dict.fromkeys(call.agent for call in calls)), "calls": tuple(call.key for call in calls),
                "scores": {}, "status": "accepted",
                "verdicts": (
                    Verdict("rule/length", True, 0.75, "secret evidence"), Verdict("judge/clear", False, None, None),
                ),
            } | changes
        )  # fmt: skip
        steps = tuple(
            Step(one, place > 0 and one.agent == calls[place - 1].agent and len(one.messages) > 2)
            for place, one in enumerate(calls)
        )
        return Story(seed, example, steps, 240)

    return make
