"""Any chat model that LangChain integrates, named `provider:model`, behind the interface of every SM.

Constraints go through `with_structured_output` where the recipe says that the model takes them; replies are validated
in any case. The concurrency is found out while running, as for an endpoint.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, convert_to_messages
from pydantic import PrivateAttr

from understudy.errors import EngineRefused, ModelError
from understudy.models.sm import SM, Capabilities, Reply, Request
from understudy.models.throttle import TRANSIENT, Lane, Throttle, Trouble, parse_retry_after
from understudy.prompt import Sampling
from understudy.sms import LangChainSM


class LangChain(SM):
    """A LangChain chat model as an SM."""

    settings: LangChainSM
    _models: dict[tuple[float, int], BaseChatModel] = PrivateAttr(default_factory=dict)
    _throttle: Throttle = PrivateAttr()

    @classmethod
    def open(cls, settings: LangChainSM) -> LangChain:
        """Make the chat model that the recipe names.

        Raises:
            ModelError: when `langchain` or the provider's package is missing, or the model refuses its arguments.
        """
        opened = cls(settings=settings)
        opened._throttle = Throttle([Lane(settings.model, settings.max_concurrency)])
        opened._drawing(Sampling())
        return opened

    @property
    def identity(self) -> str:
        """The provider's name for it: what the weights are is the provider's word."""
        return self.settings.model

    @property
    def capabilities(self) -> Capabilities:
        """As the recipe says."""
        return Capabilities(schema=self.settings.structured, slots=self._throttle.slots)

    @property
    def throttle(self) -> Throttle:
        """The concurrency, and its trace."""
        return self._throttle

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The replies, each a request of its own."""
        return tuple(await asyncio.gather(*(self._one(request) for _ in range(request.n))))

    async def _one(self, request: Request) -> Reply:
        return await self._throttle.persist(lambda _: self._ask(request), self.settings, priority=request.priority)

    async def _ask(self, request: Request) -> Reply:
        messages = convert_to_messages(list(request.messages))
        model = self._drawing(request.sampling)
        constraint = request.constraint
        try:
            if constraint is not None and constraint.kind == "schema" and self.settings.structured:
                schema = {"title": "reply", "description": "The reply.", **constraint.value}
                typed = model.with_structured_output(schema, method="json_schema", include_raw=True)
                answer: Any = await typed.ainvoke(messages)
                raw = answer["raw"]
                text = str(raw.text) or json.dumps(answer["parsed"])
            else:
                raw = await model.ainvoke(messages)
                text = str(raw.text)
        except Exception as error:  # each provider raises its own
            if (begun := _begun(error)) is not None:
                return begun
            raise _translated(error, self.identity) from error
        usage = raw.usage_metadata or {"input_tokens": 0, "output_tokens": 0}
        return Reply(
            text,
            usage["input_tokens"],
            usage["output_tokens"],
            _finish(raw) in ("length", "max_tokens", "MAX_TOKENS"),
            (usage.get("input_token_details") or {}).get("cache_read") or 0,
        )

    def _drawing(self, sampling: Sampling) -> BaseChatModel:
        """The chat model that draws so: temperature and length are what all integrations take when they are made."""
        key = (sampling.temperature, sampling.max_tokens)
        if key not in self._models:
            self._models[key] = _make(self.settings, sampling)
        return self._models[key]

    async def aclose(self) -> None:
        """Let go of whoever waits; the integrations close their own connections."""
        self._throttle.close()


def _make(settings: LangChainSM, sampling: Sampling) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise ModelError("`backend: langchain` needs langchain", remedy="install `understudy[langchain]`") from error
    options: dict[str, Any] = {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "max_retries": 0,  # there is one retry loop, and it is ours
        **settings.options,
    }
    try:
        model: BaseChatModel = init_chat_model(settings.model, **options)
        return model
    except ImportError as error:
        raise ModelError(
            str(error), where=f"sm.model: {settings.model}", remedy="install the provider's package, named above"
        ) from error
    except Exception as error:  # each integration checks its arguments in its own way
        raise ModelError(f"cannot be opened: {error}", where=f"sm.model: {settings.model}") from error


def _translated(error: Exception, where: str) -> Exception:
    """A provider's error in our words: most carry an HTTP status."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 500 and status not in TRANSIENT:
        kind = ModelError if status in (401, 403) else EngineRefused
        return kind(f"HTTP {status}: {error}", where=where)
    if isinstance(error, TimeoutError):
        return error
    a_mistake = isinstance(error, (NotImplementedError, TypeError, AttributeError, ValueError))
    if status is None and a_mistake and not isinstance(error, json.JSONDecodeError):
        return EngineRefused(f"{type(error).__name__}: {error}", where=where)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    wait = parse_retry_after(headers.get("retry-after"))
    return Trouble(str(status or type(error).__name__), f"{type(error).__name__}: {error}", wait)


def _begun(error: Exception) -> Reply | None:
    """A reply that was cut off at its length: OpenAI's client raises for it when it was to be held to a schema."""
    try:
        completion: Any = getattr(error, "completion", None)
        (choice,), usage = completion.choices, completion.usage
        details = usage.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        return Reply(choice.message.content or "", usage.prompt_tokens, usage.completion_tokens, True, cached)
    except (AttributeError, TypeError, ValueError):
        return None


def _finish(message: AIMessage) -> str:
    known = message.response_metadata
    return str(known.get("finish_reason") or known.get("stop_reason") or known.get("done_reason") or "")
