"""OpenAI's chat protocol as our server speaks it: what a request may hold, and what goes back."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from understudy.models.sm import Constraint, Reply, Request
from understudy.nouns import Messages
from understudy.prompt import Sampling

MOST_REPLIES = 16
_MOST_TOKENS = 8192
# The protocol lets a reply be as long as there is room; a small model that goes astray should end sooner.
_USUAL_TOKENS = 512


class Refused(Exception):
    """A request that gets an error in OpenAI's form."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class _Part(BaseModel):
    type: Literal["text"]
    text: str


def _whole(content: Any) -> Any:
    """Content that came in parts, as one text."""
    if not isinstance(content, list):
        return content
    return "".join(_Part.model_validate(part).text for part in content)


class _Turn(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_whole)]


class _Schema(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    form: dict[str, Any] = Field(alias="schema")


class _Form(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Streaming(BaseModel):
    include_usage: bool = False


class Asked(BaseModel):
    """The body of a request to `/v1/chat/completions`. What would change a reply and is not here is refused."""

    model: str
    messages: list[_Turn] = Field(min_length=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, ge=1, le=2)
    max_tokens: int | None = Field(None, ge=1, le=_MOST_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=_MOST_TOKENS)
    n: int = Field(1, ge=1, le=MOST_REPLIES)
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    stop: list[str] = Field([], max_length=16)
    response_format: _Form | None = None
    stream: bool = False
    stream_options: _Streaming | None = None
    # Of these only what leaves a reply as it is.
    tools: list[Any] | None = Field(None, max_length=0)
    functions: list[Any] | None = Field(None, max_length=0)
    logit_bias: dict[str, Any] | None = Field(None, max_length=0)
    logprobs: Literal[False] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None

    @field_validator("temperature", "top_p", "repetition_penalty", "n", "stream", mode="before")
    @classmethod
    def _null_is_the_default(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        found = [] if value is None else [value] if isinstance(value, str) else value
        return [text for text in found if text != ""] if isinstance(found, list) else found

    @property
    def chat(self) -> Messages:
        """The conversation, as an SM takes it."""
        return tuple(
            {"role": "system" if turn.role == "developer" else turn.role, "content": turn.content}
            for turn in self.messages
        )

    @property
    def constraint(self) -> Constraint | None:
        """What `response_format` asks for.

        Raises:
            Refused: when it names a schema and has none.
        """
        form = self.response_format
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return Constraint("schema", {"type": "object"})
        if form.json_schema is None:
            raise Refused(400, "`json_schema` is missing", param="response_format.json_schema")
        return Constraint("schema", form.json_schema.form)

    def request(self, context_tokens: int | None) -> Request:
        """What an SM is asked; a seed that was not given is drawn."""
        usual = _USUAL_TOKENS if context_tokens is None else max(1, min(_USUAL_TOKENS, context_tokens // 2))
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens or usual,
            repetition_penalty=self.repetition_penalty,
        )
        seed = secrets.randbits(31) if self.seed is None else self.seed
        return Request(self.chat, sampling, seed, self.constraint, self.n)


def ended(reply: Reply, stop: list[str]) -> tuple[str, str]:
    """A reply's text up to the first of the stop texts, and its `finish_reason`."""
    found = [place for text in stop if (place := reply.text.find(text)) >= 0]
    if found:
        return reply.text[: min(found)], "stop"
    return reply.text, "length" if reply.truncated else "stop"


def completion(asked: Asked, replies: tuple[Reply, ...], identity: str) -> dict[str, Any]:
    """The whole answer."""
    choices = []
    for place, reply in enumerate(replies):
        text, reason = ended(reply, asked.stop)
        message = {"role": "assistant", "content": text, "refusal": None}
        choices.append({"index": place, "message": message, "logprobs": None, "finish_reason": reason})
    return {**_head(asked, identity, "chat.completion"), "choices": choices, "usage": _usage(replies)}


def events(asked: Asked, replies: tuple[Reply, ...], identity: str) -> Iterator[str]:
    """The same as server-sent events: for each reply its role, its text and why it ended."""
    head = _head(asked, identity, "chat.completion.chunk")
    counted = asked.stream_options is not None and asked.stream_options.include_usage

    def event(place: int, delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": place, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event(head | {"choices": [choice]} | ({"usage": None} if counted else {}))

    for place, reply in enumerate(replies):
        text, reason = ended(reply, asked.stop)
        yield event(place, {"role": "assistant", "content": ""})
        for word in _words(text):
            yield event(place, {"content": word})
        yield event(place, {}, reason)
    if counted:
        yield _event(head | {"choices": [], "usage": _usage(replies)})
    yield "data: [DONE]\n\n"


def _words(text: str) -> Iterator[str]:
    """A text in pieces that together are the text again."""
    start = 0
    for place, char in enumerate(text):
        if char.isspace() and place > start:
            yield text[start:place]
            start = place
    if start < len(text):
        yield text[start:]


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _head(asked: Asked, identity: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": asked.model,
        "system_fingerprint": identity,
    }  # fmt: skip


def _usage(replies: tuple[Reply, ...]) -> dict[str, Any]:
    prompt = sum(reply.prompt_tokens for reply in replies)
    written = sum(reply.completion_tokens for reply in replies)
    return {
        "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": sum(reply.cached_tokens for reply in replies)},
    }  # fmt: skip
