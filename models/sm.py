"""What every SM is: a LangChain chat model that also completes in numbers, scores, embeds, and says what it can do."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from numpy.typing import NDArray

from understudy.errors import EngineRefused, ModelError
from understudy.models.throttle import Throttle
from understudy.nouns import Messages
from understudy.prompt import Sampling

Matrix = NDArray[np.float32]
Capability = Literal["schema", "regex", "seeded", "score", "embed", "adapters"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; a part of a run that needs more says so at start-up, not mid-run."""

    schema: bool = False
    """It can hold a reply to a JSON schema while decoding."""
    regex: bool = False
    """It can hold a reply to a regular expression while decoding."""
    seeded: bool = False
    """The sampler seed of a request determines its reply."""
    score: bool = False
    """It tells the log-probability of each token of a given continuation."""
    embed: bool = False
    """It turns texts into vectors."""
    adapters: bool = False
    """It can run a request through a LoRA adapter."""
    slots: int = 32
    """Requests it works on at once; more than these wait."""
    context_tokens: int | None = None
    """Longest prompt plus reply; None when the engine does not say."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a reply must look like, lowered by each engine to what it can enforce."""

    kind: Literal["schema", "regex"]
    value: Any
    """A JSON schema, or a regular expression."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an SM is asked."""

    messages: Messages
    sampling: Sampling = Sampling()  # noqa: RUF009
    seed: int = 0
    """Seeds the sampler; of several replies, the i-th is that of a request with `seed + i`."""
    constraint: Constraint | None = None
    n: int = 1
    """How many replies are drawn from the one prompt."""
    priority: int = 0
    """Of requests that wait, those with the lowest go first."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from an engine."""

    text: str
    prompt_tokens: int
    """Counted once a request: 0 for all but the first of its replies."""
    completion_tokens: int
    truncated: bool
    """The reply was cut at `max_tokens`."""
    cached_tokens: int = 0
    """How many of the prompt's tokens the engine had read before."""
    looped: bool = False
    """The engine cut it because it repeated itself."""


@dataclass(frozen=True, slots=True)
class Score:
    """How likely an SM finds a continuation."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    """Natural logarithms, one for each token, given all before it."""

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation."""
        return sum(self.logprobs)


class SM(BaseChatModel):
    """A synthetic model. A backend implements `complete`; LangChain's `ainvoke` works on all of them."""

    remedies: ClassVar[dict[str, str]] = {
        "adapters": "name them under `adapters` of a `transformers`, `vllm` or `vllm-server` backend",
        "score": "`vllm`, `vllm-server`, `embedded`, `transformers`, and `openai` endpoints that vLLM serves can",
        "embed": "`embedded`, `transformers`, and `openai` endpoints that serve an embedding model can",
    }

    @property
    @abstractmethod
    def identity(self) -> str:
        """Names the weights: equal for two engines exactly when they hold the same model."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    @abstractmethod
    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The replies to one prompt, `request.n` of them.

        Raises:
            EngineTransient: after the engine's own retries are used up.
            EngineRefused: when the same request would fail again.
        """

    async def score(self, messages: Messages, continuation: str) -> Score:
        """Log-probabilities of `continuation` as the reply to `messages`, without its end token.

        Raises:
            ModelError: when the engine cannot tell.
        """
        raise self._unable("score")

    async def embed(self, texts: list[str]) -> Matrix:
        """Unit vectors, shape (len(texts), dimensions).

        Raises:
            ModelError: when the engine cannot tell.
        """
        raise self._unable("embed")

    def adapted(self, name: str) -> SM:
        """This SM seen through one of its LoRA adapters; the engine is shared.

        Raises:
            ModelError: when the engine has no such adapter, or runs none.
        """
        raise self._unable("adapters")

    def require(self, capability: Capability, purpose: str) -> None:
        """Say at start-up that a part of the run needs what this engine lacks.

        Raises:
            ModelError: naming the capability, its purpose, and who has it.
        """
        if not getattr(self.capabilities, capability):
            raise self._unable(capability, purpose)

    def _unable(self, capability: str, purpose: str | None = None) -> ModelError:
        what = f"cannot {capability}" if capability != "adapters" else "runs no LoRA adapters"
        return ModelError(
            what + (f", which {purpose} needs" if purpose else ""),
            where=self.identity,
            remedy=self.remedies.get(capability, "name another SM in the recipe"),
        )

    @property
    def throttle(self) -> Throttle | None:
        """The concurrency that is found out while running, where the engine is not ours; its trace is reported."""
        return None

    async def aclose(self) -> None:
        """Let go of what the engine holds."""

    @property
    def _llm_type(self) -> str:
        return "understudy"

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        constraint: Constraint | None = None,
        n: int = 1,
        **kwargs: Any,
    ) -> ChatResult:
        if kwargs or stop:
            unknown = ", ".join([*kwargs, *(["stop"] if stop else [])])
            raise EngineRefused(f"this SM does not take {unknown}", expected="sampling, seed, constraint, n")
        replies = await self.complete(Request(_plain(messages), sampling or Sampling(), seed, constraint, n))
        return ChatResult(generations=[ChatGeneration(message=_message(reply, self.identity)) for reply in replies])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        import asyncio

        return asyncio.run(self._agenerate(messages, stop, **kwargs))


def _message(reply: Reply, identity: str) -> AIMessage:
    return AIMessage(
        reply.text,
        usage_metadata={
            "input_tokens": reply.prompt_tokens,
            "output_tokens": reply.completion_tokens,
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
            "input_token_details": {"cache_read": reply.cached_tokens},
        },
        response_metadata={"finish_reason": "length" if reply.truncated else "stop", "model_name": identity},
    )


def _plain(messages: list[BaseMessage]) -> Messages:
    roles = {"human": "user", "ai": "assistant"}
    return tuple({"role": roles.get(message.type, message.type), "content": message.text} for message in messages)
