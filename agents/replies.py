"""What an agent may answer, by name: how decoding is constrained, and how the text is read.

A reply of one text is asked for as plain text, since small models write it far better than JSON; one of
several fields is JSON under a schema. Either is validated, always.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.models import Constraint
from understudy.nouns import Family


class Judgement(BaseModel):
    """A judge's word on one example."""

    model_config = ConfigDict(extra="forbid", strict=True)

    passes: bool
    reason: str = Field(max_length=120)


class Known(BaseModel):
    """What can be said of a person, each in a few words; empty where nothing can."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: str = Field(max_length=40)
    domain: str = Field(max_length=40)
    expertise: str = Field(max_length=60)
    place: str = Field(max_length=40)
    age: str = Field(max_length=12)


class Argument(BaseModel):
    """One argument of a tool."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern="^[a-z][a-z0-9_]{0,30}$")
    type: Literal["string", "number", "integer", "boolean", "array", "object"]
    description: str = Field(max_length=120)


class Tool(BaseModel):
    """The interface of a tool that a language model can call."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern="^[a-z][a-z0-9_]{0,40}$")
    description: str = Field(max_length=200)
    arguments: list[Argument] = Field(max_length=6)
    returns: str = Field(max_length=120)
    example: str = Field(max_length=200)


class Library(BaseModel):
    """Several tools that belong together."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tools: list[Tool] = Field(min_length=2, max_length=5)


class Given(BaseModel):
    """A value that a request gives for an argument."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tool: str = Field(max_length=40)
    argument: str = Field(max_length=40)
    value: str = Field(min_length=1, max_length=80)


class ToolTask(BaseModel):
    """What a user asks of an assistant that has tools, and what the request gives for which argument."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request: str = Field(min_length=12, max_length=400)
    given: list[Given] = Field(max_length=12)


class Calls(BaseModel):
    """The values of all arguments of the tools that an assistant calls; none where it calls no tool."""

    model_config = ConfigDict(extra="forbid", strict=True)

    calls: list[Given] = Field(max_length=12)


class Mismatch(ValueError):
    """Why a reply cannot be used, in words that the SM is shown when it is asked again."""


@dataclass(frozen=True, slots=True)
class ReplyType:
    """A named form of reply; `read(text, truncated)` returns its value or raises `Mismatch`."""

    name: str
    families: tuple[Family, ...]
    constraint: Constraint | None
    read: Callable[[str, bool], Any]


_LABEL = re.compile(
    r"^\s*(?:\*\*)?(?:question|answer|instruction|rewritten|persona|reply|summary)(?:\*\*)?\s*:\s*(?:\*\*)?\s*", re.I
)
_FENCE = re.compile(r"^\s*```(?:json)?|```\s*$")
_SENTENCE = re.compile(r"[.!?…][\"')\]]?(?=\s|$)|```\s*$|\n")


def _text(least_words: int, *, one_line: bool = False) -> Callable[[str, bool], str]:
    def read(text: str, truncated: bool) -> str:
        text = _LABEL.sub("", text.strip(), count=1).strip()
        if len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2:
            text = text[1:-1].strip()
        if one_line:
            text, *more = text.splitlines() or [""]
            truncated = truncated and not more
        if truncated:
            # Cut off at the length limit: what was said in whole sentences still stands.
            ends = [match.end() for match in _SENTENCE.finditer(text)]
            if not ends:
                raise Mismatch("it is cut off; write less")
            text = text[: ends[-1]].strip()
        if len(text.split()) < least_words:
            raise Mismatch(f"it is too short; write at least {least_words} words")
        return text

    return read


def _json(model: type[BaseModel]) -> Callable[[str, bool], BaseModel]:
    def read(text: str, truncated: bool) -> BaseModel:
        try:
            return model.model_validate_json(_FENCE.sub("", text).strip())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the reply"
            note = " (it was cut off; write less)" if truncated else ""
            raise Mismatch(f"{where}: {first['msg']}{note}; expected {json.dumps(_schema(model))}") from error

    return read


def _choice(text: str, truncated: bool) -> str:
    letters = set(re.findall(r"\b[AB]\b", text))
    if len(letters) != 1:
        raise Mismatch("answer with A or with B, and nothing else")
    return str(letters.pop())


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    schema.pop("description", None)
    schema.pop("title", None)
    for field in schema["properties"].values():
        field.pop("title", None)
    return schema


# A question of several lines is several questions; the rest of these may run over lines.
_ONE_LINE = Constraint("regex", r"[^\n]{12,400}")

REPLIES: dict[str, ReplyType] = {
    reply.name: reply
    for reply in (
        ReplyType("PersonaText", ("persona",), _ONE_LINE, _text(4, one_line=True)),
        ReplyType("Known", ("persona",), Constraint("schema", _schema(Known)), _json(Known)),
        ReplyType("Passage", ("transform", "instruct"), None, _text(12)),
        ReplyType("Text", ("instruct",), None, _text(1)),
        ReplyType("Label", ("judge",), None, _text(1, one_line=True)),
        ReplyType("Line", ("instruct",), None, _text(1, one_line=True)),
        ReplyType("Instruction", ("instruct",), _ONE_LINE, _text(4, one_line=True)),
        ReplyType("Tool", ("instruct", "transform"), Constraint("schema", _schema(Tool)), _json(Tool)),
        ReplyType("Library", ("transform",), Constraint("schema", _schema(Library)), _json(Library)),
        ReplyType("ToolTask", ("instruct",), Constraint("schema", _schema(ToolTask)), _json(ToolTask)),
        ReplyType("Calls", ("answer",), Constraint("schema", _schema(Calls)), _json(Calls)),
        ReplyType("Answer", ("answer",), None, _text(1)),
        ReplyType("Edit", ("refine",), None, _text(3)),
        ReplyType("Reworded", ("noise",), None, _text(2)),
        ReplyType("Choice", ("judge",), Constraint("regex", "A|B"), _choice),
        ReplyType("Judgement", ("judge",), Constraint("schema", _schema(Judgement)), _json(Judgement)),
    )
}
