"""Any OpenAI-compatible endpoint, through the openai client; the one retry loop is here."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

from pydantic import PrivateAttr

from understudy.errors import EngineRefused, EngineTransient, ModelError
from understudy.models.sm import SM, Capabilities, Constraint, Reply
from understudy.nouns import Messages
from understudy.prompt import Sampling
from understudy.recipe import OpenAISM

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
# Worth another try: timeouts, conflicts, too many requests; 5xx are as well.
_TRANSIENT = frozenset({408, 409, 425, 429})


class Endpoint(SM):
    """A served model; `vllm serve` and llama.cpp's server speak this protocol."""

    settings: OpenAISM
    _client: Any = PrivateAttr()
    _slots: asyncio.Semaphore = PrivateAttr()

    @classmethod
    def open(cls, settings: OpenAISM) -> Endpoint:
        """Check the key; the endpoint itself is asked by `check`.

        Raises:
            ModelError: when the environment variable for the key is not set.
        """
        key = "none"  # servers without keys accept any
        if settings.api_key_env:
            key = os.environ.get(settings.api_key_env, "")
            if not key:
                raise ModelError(
                    f"environment variable {settings.api_key_env} is not set",
                    remedy=f"export {settings.api_key_env}=… (named by `sm.api_key_env`)",
                )
        import openai

        endpoint = cls(settings=settings)
        endpoint._client = openai.AsyncOpenAI(
            base_url=settings.base_url, api_key=key, max_retries=0, timeout=settings.timeout_s
        )
        endpoint._slots = asyncio.Semaphore(settings.max_concurrency)
        return endpoint

    @property
    def identity(self) -> str:
        """The served name: what the weights are is the server's word."""
        return f"openai:{self.settings.model}"

    @property
    def capabilities(self) -> Capabilities:
        """As the recipe says; seeds are honoured by vLLM and llama.cpp, best effort elsewhere."""
        return Capabilities(schema=self.settings.structured, regex=False, seeded=True)

    async def check(self) -> None:
        """Ask the endpoint for its models before any work is planned on it.

        Raises:
            ModelError: when it cannot be reached, refuses the key, or does not serve the model.
        """
        import openai

        where = self.settings.base_url
        remedy = f"start it (for instance `vllm serve {self.settings.model}`) or correct `sm.base_url`"
        try:
            async with asyncio.timeout(min(30.0, self.settings.timeout_s)):
                listed = await self._client.models.list()
            names = [str(model.id) for model in listed.data]
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            name = self.settings.api_key_env or "sm.api_key_env (not set)"
            raise ModelError("the endpoint refused the key", where=where, remedy=f"check {name}") from error
        except openai.NotFoundError:
            return  # some servers have no list of models; the first request will tell
        except (openai.OpenAIError, TimeoutError) as error:
            raise ModelError(f"endpoint down: {_short(error)}", where=where, remedy=remedy) from error
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError("answers, but not as an OpenAI-compatible endpoint", where=where, remedy=remedy) from error
        if names and self.settings.model not in names:
            raise ModelError(
                f"does not serve `{self.settings.model}`",
                where=where,
                expected=f"one of: {', '.join(names[:10])}",
                remedy="correct `sm.model` in the recipe",
            )

    async def complete(
        self, messages: Messages, sampling: Sampling, seed: int, constraint: Constraint | None = None
    ) -> Reply:
        """One reply, tried again after transient failures with growing, jittered waits."""
        async with self._slots:
            for attempt in range(self.settings.retries + 1):
                try:
                    return await self._once(messages, sampling, seed, constraint)
                except EngineTransient:
                    if attempt == self.settings.retries:
                        raise
                wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
                await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311
        raise AssertionError("unreachable")

    async def _once(self, messages: Messages, sampling: Sampling, seed: int, constraint: Constraint | None) -> Reply:
        import openai

        options: dict[str, Any] = {}
        if constraint is not None and constraint.kind == "schema" and self.settings.structured:
            options["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": constraint.value, "strict": True},
            }
        if sampling.repetition_penalty != 1:
            # Not part of the protocol; vLLM and llama.cpp take it beside the standard fields.
            options["extra_body"] = {"repetition_penalty": sampling.repetition_penalty}
        where = self.settings.base_url
        try:
            # httpx's timeouts do not bound a reply that drips; this one bounds the whole request.
            async with asyncio.timeout(self.settings.timeout_s):
                answer = await self._client.chat.completions.create(
                    model=self.settings.model,
                    messages=list(messages),
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    max_tokens=sampling.max_tokens,
                    seed=seed & (2**31 - 1),
                    **options,
                )
            choice = answer.choices[0]
            text = choice.message.content or ""
            usage = answer.usage
            return Reply(
                text,
                usage.prompt_tokens if usage else 0,
                usage.completion_tokens if usage else 0,
                choice.finish_reason == "length",
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ModelError(f"the endpoint refused the key: {_short(error)}", where=where) from error
        except openai.APIStatusError as error:
            transient = error.status_code in _TRANSIENT or error.status_code >= 500
            raise (EngineTransient if transient else EngineRefused)(_short(error), where=where) from error
        except (openai.APIConnectionError, TimeoutError) as error:
            raise EngineTransient(_short(error), where=where) from error
        except (openai.OpenAIError, AttributeError, TypeError, IndexError, ValueError) as error:
            raise EngineRefused(f"not a chat completion: {_short(error)}", where=where) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "…"
