"""What every SM is: a LangChain chat model that takes a sampler seed and a constraint with each request."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration, ChatResult

from understudy.errors import EngineRefused
from understudy.nouns import Messages
from understudy.prompt import Sampling


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; a node that needs more says so at start-up, not mid-run."""

    schema: bool
    """It can hold a reply to a JSON schema while decoding."""
    regex: bool
    """It can hold a reply to a regular expression while decoding."""
    seeded: bool
    """The sampler seed of a request determines its reply."""
    context_tokens: int | None = None
    """Longest prompt plus reply; None when the engine does not say."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a reply must look like, lowered by each engine to what it can enforce."""

    kind: Literal["schema", "regex"]
    value: Any
    """A JSON schema, or a regular expression."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from an engine."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool
    """The reply was cut at `max_tokens`."""


class SM(BaseChatModel):
    """A synthetic model. A backend implements `complete`; LangChain's `ainvoke` works on all of them."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Names the weights: equal for two engines exactly when they hold the same model."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    @abstractmethod
    async def complete(
        self, messages: Messages, sampling: Sampling, seed: int, constraint: Constraint | None = None
    ) -> Reply:
        """One reply.

        Raises:
            EngineTransient: after the engine's own retries are used up.
            EngineRefused: when the same request would fail again.
        """

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
        **kwargs: Any,
    ) -> ChatResult:
        if kwargs or stop:
            unknown = ", ".join([*kwargs, *(["stop"] if stop else [])])
            raise EngineRefused(f"this SM does not take {unknown}", expected="sampling, seed, constraint")
        reply = await self.complete(_plain(messages), sampling or Sampling(), seed, constraint)
        message = AIMessage(
            reply.text,
            usage_metadata={
                "input_tokens": reply.prompt_tokens,
                "output_tokens": reply.completion_tokens,
                "total_tokens": reply.prompt_tokens + reply.completion_tokens,
            },
            response_metadata={"finish_reason": "length" if reply.truncated else "stop", "model_name": self.identity},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        import asyncio

        return asyncio.run(self._agenerate(messages, stop, **kwargs))


async def request(
    sm: SM, messages: Messages, sampling: Sampling, seed: int, constraint: Constraint | None = None
) -> AIMessage:
    """Ask an SM the way any LangChain caller would."""
    return await sm.ainvoke(convert_to_messages(list(messages)), sampling=sampling, seed=seed, constraint=constraint)


def _plain(messages: list[BaseMessage]) -> Messages:
    roles = {"human": "user", "ai": "assistant"}
    return tuple({"role": roles.get(message.type, message.type), "content": message.text} for message in messages)
