"""An SM asked as a model on this machine is: the same prompts, through its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from understudy.errors import ModelError
from understudy.evals.answering import Prompt, Watch
from understudy.models.sm import SM, Request
from understudy.nouns import Messages
from understudy.prompt import Sampling

T = TypeVar("T")


class Spoken:
    """An SM, with the runner of the loop in which it was opened."""

    def __init__(self, sm: SM, runner: asyncio.Runner) -> None:
        self.sm = sm
        self._runner = runner

    def answers(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> list[list[str]]:
        """What is said to each prompt, `samples` times.

        Raises:
            EngineError: from the engine.
        """
        sampling = Sampling(temperature=temperature, top_p=1.0, max_tokens=max_new_tokens)

        async def one(place: int) -> list[str]:
            asked = Request(_plain(prompts[place]), sampling, seed + place * samples, n=samples)
            return [reply.text.strip() for reply in await self.sm.complete(asked)]

        return self._all(one, len(prompts), watch)

    def scores(
        self, prompts: Sequence[Prompt], choices: Sequence[str], *, watch: Watch | None = None
    ) -> list[list[float]]:
        """The log-probability of each choice as the beginning of the answer to each prompt.

        Raises:
            ModelError: when the engine cannot tell.
        """
        self.sm.require("score", "a task with `choices`")

        async def one(place: int) -> list[float]:
            messages = _plain(prompts[place])
            return [(await self.sm.score(messages, choice)).total for choice in choices]

        return self._all(one, len(prompts), watch)

    def logprobs(self, pairs: Sequence[tuple[Prompt, str]], *, watch: Watch | None = None) -> list[list[float]]:
        """Not of an SM.

        Raises:
            ModelError: always: perplexities of models with different tokens cannot be compared.
        """
        raise ModelError(
            "the perplexity of an SM cannot be compared with a VM's: their tokens are others",
            where=self.sm.identity,
            remedy="leave out --sm for this task",
        )

    def _all(self, one: Callable[[int], Coroutine[Any, Any, T]], count: int, watch: Watch | None) -> list[T]:
        slots = asyncio.Semaphore(self.sm.capabilities.slots)
        done = 0

        async def counted(place: int) -> T:
            nonlocal done
            async with slots:
                said = await one(place)
            done += 1
            if watch:
                watch(done, count)
            return said

        async def everything() -> list[T]:
            return list(await asyncio.gather(*(counted(place) for place in range(count))))

        return self._runner.run(everything())


def _plain(prompt: Prompt) -> Messages:
    if prompt.tools or any(turn.get("tool_calls") for turn in prompt.messages):
        raise ModelError("rows with tools cannot be put to an SM", remedy="leave out --sm for this task")
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in prompt.messages)
