"""Any OpenAI-compatible endpoint, or several that serve the same model; the retry loop is in `throttle.py`.

What vLLM's server does beyond the protocol (regular expressions, log-probabilities, adapters by model name) is used
where the endpoint says that it is one.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from pydantic import BaseModel, Field, NonNegativeInt, PrivateAttr, ValidationError

from understudy.errors import EngineRefused, ModelError
from understudy.models.loops import COPIES, LONGEST, SHORTEST
from understudy.models.sm import SM, Capabilities, Matrix, Reply, Request, Score
from understudy.models.throttle import TRANSIENT, Lane, Throttle, Trouble, parse_retry_after
from understudy.nouns import Messages
from understudy.sms import OpenAISM, Served

if TYPE_CHECKING:
    import aiohttp

_LARGEST_ANSWER = 32 * 2**20
_CHECK_S = 30.0
# Servers without keys accept any.
_NO_KEY = "none"


class Endpoint(SM):
    """A served model; `vllm serve` and llama.cpp's server speak this protocol."""

    settings: OpenAISM
    name_: str = ""
    """What the weights are called, where that is not the served name."""
    _keys: dict[str, str] = PrivateAttr(default_factory=dict)
    _throttle: Throttle = PrivateAttr()
    _sessions: list[aiohttp.ClientSession] = PrivateAttr(default_factory=list)
    _adapters: frozenset[str] = PrivateAttr(default=frozenset())
    _prints: dict[str, str] = PrivateAttr(default_factory=dict)
    """Fingerprints of adapters, where we know their files."""
    _by_vllm: bool = PrivateAttr(default=False)
    _context: int | None = PrivateAttr(default=None)

    @classmethod
    def open(cls, settings: OpenAISM, *, key: str | None = None, identity: str = "") -> Self:
        """Read the keys; the endpoints themselves are asked by `check`.

        Args:
            settings: as in the recipe.
            key: sent to every endpoint, in place of those in the environment.
            identity: names the weights, where the served name does not.

        Raises:
            ModelError: when an environment variable for a key is not set.
        """
        import aiohttp  # noqa: F401 - half a second that is no part of a request's time

        endpoint = cls(settings=settings, name_=identity)
        for served in settings.served:
            endpoint._keys[served.base_url] = key or _key(served)
        endpoint._throttle = Throttle([Lane(s.base_url, s.max_concurrency, s.weight) for s in settings.served])
        return endpoint

    @property
    def identity(self) -> str:
        """The served name: what the weights are is the server's word."""
        return self.name_ or f"openai:{self.settings.model}"

    @property
    def throttle(self) -> Throttle:
        """The concurrency of each endpoint, and its trace."""
        return self._throttle

    @property
    def capabilities(self) -> Capabilities:
        """As the recipe and the server say; seeds are honoured by vLLM and llama.cpp, best effort elsewhere."""
        return Capabilities(
            schema=self.settings.structured,
            regex=self._by_vllm,
            seeded=True,
            score=self._by_vllm,
            embed=True,  # whether the model is one that embeds shows at the first text
            adapters=bool(self._adapters),
            slots=self._throttle.slots,
            context_tokens=self._context,
        )

    async def check(self) -> None:
        """Ask each endpoint for its models before any work is planned on it.

        Raises:
            ModelError: when it cannot be reached, refuses the key, or does not serve the model.
        """
        cards = [await self._models(served) for served in self.settings.served]
        mine = [card for listed in cards for card in listed if card.get("id") == self.settings.model]
        self._by_vllm = len(mine) >= len(cards) and all(card.get("owned_by") == "vllm" for card in mine)
        lengths = [card["max_model_len"] for card in mine if isinstance(card.get("max_model_len"), int)]
        self._context = min(lengths, default=None)
        names = [{str(card["id"]) for card in listed if card.get("parent")} for listed in cards]
        self._adapters = frozenset.intersection(*map(frozenset, names)) if names else frozenset()

    async def _models(self, served: Served) -> list[dict[str, Any]]:
        where = served.base_url
        remedy = f"start it (for instance `vllm serve {self.settings.model}`) or correct `base_url`"
        try:
            async with asyncio.timeout(_CHECK_S):
                listed = await self._send(served.base_url, "GET", "/models")
            cards = [dict(card, id=str(card["id"])) for card in listed["data"]]
        except EngineRefused as error:
            if "HTTP 404" in error.message:
                return []  # some servers have no list of models; the first request will tell
            raise ModelError(f"endpoint down: {error.message}", where=where, remedy=remedy) from error
        except (Trouble, TimeoutError) as error:
            raise ModelError(f"endpoint down: {_short(error)}", where=where, remedy=remedy) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("answers, but not as an OpenAI-compatible endpoint", where=where, remedy=remedy) from error
        if cards and self.settings.model not in {card["id"] for card in cards}:
            raise ModelError(
                f"does not serve `{self.settings.model}`",
                where=where,
                expected=f"one of: {', '.join([card['id'] for card in cards][:10])}",
                remedy="correct `model` in the recipe",
            )
        return cards

    def adapted(self, name: str) -> Endpoint:
        """The adapter that the server lists under `name`, as another model behind the same address."""
        if name not in self._adapters:
            self.require("adapters", f"adapter `{name}`")
            listed = ", ".join(sorted(self._adapters))
            raise ModelError(f"has no adapter `{name}`", where=self.identity, expected=f"one of: {listed}")
        other = self.model_copy(update={"settings": self.settings.model_copy(update={"model": name})})
        known = self._prints.get(name)
        other.name_ = f"{self.identity}+{name}" + (f"@{known}" if known else "")
        return other

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The replies; a request that meets trouble waits with the others and is sent again."""
        body = self._body(request)
        replies = await self._completion(body, request)
        while len(replies) < request.n:  # some servers give one reply whatever `n` says
            seed = (request.seed + len(replies)) & (2**31 - 1)
            replies += (await self._completion({**body, "n": 1, "seed": seed}, request))[:1]
        return tuple(replies[: request.n])

    async def _completion(self, body: dict[str, Any], request: Request) -> list[Reply]:
        async def send(lane: Lane) -> list[Reply]:
            answer = await self._send(lane.name, "POST", "/chat/completions", body)
            if self._by_vllm and isinstance(answer, dict) and answer.get("model", body["model"]) != body["model"]:
                raise ModelError(
                    f"answers as `{answer['model']}`", where=lane.name, expected=f"`{body['model']}`",
                    remedy="another server has taken its place: correct `base_url` or `model`",
                )  # fmt: skip
            return _replies(answer, lane.name)

        return await self._throttle.persist(
            send, self.settings, priority=request.priority, affinity=_opening(request.messages)
        )

    def _body(self, request: Request) -> dict[str, Any]:
        sampling, constraint = request.sampling, request.constraint
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": list(request.messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed & (2**31 - 1),
        }
        if request.n > 1:
            body["n"] = request.n
        if sampling.repetition_penalty != 1:
            # Not part of the protocol; vLLM and llama.cpp take it beside the standard fields.
            body["repetition_penalty"] = sampling.repetition_penalty
        if constraint is not None and constraint.kind == "schema" and self.settings.structured:
            schema = {"name": "reply", "schema": constraint.value, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif constraint is not None and constraint.kind == "regex" and self._by_vllm:
            body["structured_outputs"] = {"regex": constraint.value}
        if self._by_vllm:
            rule = {"max_pattern_size": LONGEST, "min_pattern_size": SHORTEST, "min_count": COPIES}
            body["repetition_detection"] = rule
        return body

    async def score(self, messages: Messages, continuation: str) -> Score:
        """By vLLM's log-probabilities of a prompt: the continuation is sent as a part of it."""
        self.require("score", "`score`")
        priority, affinity = 0, _opening(messages)
        root = {"model": self.settings.model}
        ask = {**root, "messages": list(messages), "add_generation_prompt": True}
        prompt = await self._ask("/../tokenize", ask, priority, affinity)
        ask = {**root, "prompt": continuation, "add_special_tokens": False}
        tail = await self._ask("/../tokenize", ask, priority, affinity)
        try:
            ids = [*prompt["tokens"], *tail["tokens"]]
            ask = {**root, "prompt": ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
            answer = await self._ask("/completions", ask, priority, affinity)
            known = answer["choices"][0]["prompt_logprobs"][len(prompt["tokens"]) :]
            each = [place[str(token)] for place, token in zip(known, tail["tokens"], strict=True)]
            return Score(tuple(str(one["decoded_token"]) for one in each), tuple(float(one["logprob"]) for one in each))
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise EngineRefused("not the log-probabilities of a prompt", where=self.identity) from error

    async def embed(self, texts: list[str]) -> Matrix:
        """By `/embeddings`; the model must be one that embeds."""
        answer = await self._ask("/embeddings", {"model": self.settings.model, "input": texts}, 0, "".join(texts[:1]))
        try:
            items = sorted(answer["data"], key=lambda item: item.get("index", 0))
            vectors = np.array([item["embedding"] for item in items], dtype=np.float32)
            if vectors.ndim != 2 or len(vectors) != len(texts):
                raise ValueError(f"shape {vectors.shape}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EngineRefused("not embeddings, one for each text", where=self.identity) from error
        return cast(Matrix, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    async def _ask(self, path: str, body: dict[str, Any], priority: int, affinity: str) -> Any:
        """One answer, whatever number of tries it takes."""
        return await self._throttle.persist(
            lambda lane: self._send(lane.name, "POST", path, body), self.settings, priority=priority, affinity=affinity
        )

    async def _send(self, base_url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One HTTP request.

        Raises:
            Trouble: worth another try.
            EngineRefused: not worth one.
            ModelError: the key is refused.
        """
        import aiohttp

        if not self._sessions:
            # The throttle bounds the connections; a redirect could carry the key to another host.
            self._sessions.append(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CHECK_S),
                )
            )
        url = base_url.rstrip("/") + path
        if path.startswith("/../"):
            url = base_url.rstrip("/").rpartition("/")[0] + path[3:]
        headers = {"Authorization": f"Bearer {self._keys[base_url]}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            async with self._sessions[0].request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                raw = await response.content.read(_LARGEST_ANSWER)
                while not response.content.at_eof():
                    raw += await response.content.read(_LARGEST_ANSWER)
                    if len(raw) > _LARGEST_ANSWER:
                        raise EngineRefused(f"an answer of more than {_LARGEST_ANSWER >> 20} MiB", where=base_url)
        except aiohttp.ClientError as error:
            raise Trouble("connection", _short(error)) from error
        if response.status == 200:
            try:
                return json.loads(raw)
            except (ValueError, RecursionError) as error:  # a proxy's page, half an answer
                raise Trouble("not JSON", f"not JSON: {self._start(raw, base_url)}") from error
        message = f"HTTP {response.status}: {self._start(raw, base_url)}"
        if response.status in (401, 403):
            raise ModelError(
                f"the endpoint refused the key: {message}", where=base_url, remedy=f"check {self._key_name(base_url)}"
            )
        if response.status in TRANSIENT or response.status >= 500:
            wait = parse_retry_after(response.headers.get("Retry-After"))
            raise Trouble(str(response.status), message, wait)
        raise EngineRefused(message, where=base_url)

    def _start(self, raw: bytes, base_url: str) -> str:
        """What a server says of an error, without the key."""
        text = raw[:2000].decode("utf-8", "replace")
        try:
            error = json.loads(raw)["error"]
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        if (key := self._keys[base_url]) != _NO_KEY:
            text = text.replace(key, "…")
        return text if len(text) <= 200 else text[:200] + "…"

    def _key_name(self, base_url: str) -> str:
        served = next(one for one in self.settings.served if one.base_url == base_url)
        return served.api_key_env or "`api_key_env` (not set)"

    async def aclose(self) -> None:
        """Close the connections."""
        self._throttle.close()
        while self._sessions:
            await self._sessions.pop().close()


def _key(served: Served) -> str:
    if not served.api_key_env:
        return _NO_KEY
    key = os.environ.get(served.api_key_env, "").strip()
    if not key:
        raise ModelError(
            f"environment variable {served.api_key_env} is not set",
            remedy=f"export {served.api_key_env}=… (named by `api_key_env`)",
        )
    return key


def _opening(messages: Messages) -> str:
    """What prompts of one seed have in common, and those of others have not."""
    return messages[-1]["content"][:200] if len(messages) < 3 else messages[1]["content"][:200]


class _Details(BaseModel):
    cached_tokens: NonNegativeInt | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None
    prompt_tokens_details: _Details | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    index: int | None = None
    finish_reason: str | None = None


class _Completion(BaseModel):
    """What we read of a chat completion; servers put more into it."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def _replies(answer: Any, where: str) -> list[Reply]:
    """The replies in a completion.

    Raises:
        Trouble: when it is none.
        EngineRefused: when the model, or a filter before it, will not answer.
    """
    try:
        completion = _Completion.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Trouble("no completion", f"not a chat completion: {place}: {first['msg']}") from error
    choices = sorted(completion.choices, key=lambda choice: choice.index or 0)
    for choice in choices:
        if choice.message.refusal or choice.finish_reason == "content_filter":
            raise EngineRefused(f"refusal: {choice.message.refusal or 'content filter'}", where=where)
    usage = completion.usage or _Usage()
    cached = (usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0
    total = usage.completion_tokens or 0
    # The protocol counts all replies together; each is charged its share.
    shares = [total // len(choices) + (place < total % len(choices)) for place in range(len(choices))]
    return [
        Reply(
            choice.message.content or "",
            0 if place else usage.prompt_tokens or 0,
            shares[place],
            choice.finish_reason == "length",
            0 if place else cached,
            choice.finish_reason == "repetition",
        )
        for place, choice in enumerate(choices)
    ]


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "…"
