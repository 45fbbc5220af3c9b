"""Reading conversations that somebody else wrote: files of `messages`, of ShareGPT, or of prompts and completions.

What cannot be used is left out line by line, each with its reason; nothing is mended in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.corpus import contained
from understudy.corpus.sharegpt import from_sharegpt
from understudy.errors import UserError

SUFFIXES = (".jsonl", ".json", ".parquet")
Row = dict[str, Any]
_ROLES = ("system", "user", "assistant", "tool")
# What of a turn is kept; `reasoning_content` is what chat templates call the thinking before an answer.
_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content")


def read_conversations(path: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """The conversations of a file, and what was refused.

    A row is in the form of its first key that is there: `messages` (role and content), `conversations` (ShareGPT: from
    and value, with `system` and `tools` beside it), or `prompt` and `completion` (TRL: lists of messages, or strings).
    An assistant's turn comes last, users and assistants take turns, a system message comes first, nothing is empty
    except the words of a turn that calls tools and the results of tools.

    Args:
        path: a .jsonl, .json (a list) or .parquet file.

    Returns:
        rows `{"messages": [...]}`, with `tools` as a list where the row has some and the arguments of calls as JSON in
        a string; and (line, reason) of each row refused. In .json and .parquet the line is the number of the row.

    Raises:
        UserError: when the file as a whole cannot be read.
    """
    rows: list[Row] = []
    refused: list[tuple[int, str]] = []
    for line, found in values(path):
        try:
            rows.append(conversation(found() if callable(found) else found))
        except ValueError as error:
            refused.append((line, str(error)))
    return rows, refused


def conversation(row: Any) -> Row:
    """One row in any of the forms, as `messages` and perhaps `tools`.

    Raises:
        ValueError: with the reason why it is not one.
    """
    if not isinstance(row, dict):
        raise ValueError(f"a JSON {type(row).__name__}, not an object")
    if row.get("messages") is not None:
        messages = row["messages"]
    elif row.get("conversations") is not None:
        messages = from_sharegpt(row["conversations"])
        if row.get("system"):
            messages = [{"role": "system", "content": row["system"]}, *messages]
    elif row.get("prompt") is not None and row.get("completion") is not None:
        messages = _joined(row["prompt"], row["completion"])
    else:
        raise ValueError("has none of `messages`, `conversations`, or `prompt` with `completion`")
    if not isinstance(messages, list) or not messages:
        raise ValueError("`messages` is not a list of turns" if messages else "has no turns")
    # Parquet with turns of different keys has them as JSON.
    turns = [_turn(_parsed(turn) if isinstance(turn, str) and turn.startswith("{") else turn) for turn in messages]
    _check_order(turns)
    try:
        tools = _tools(row.get("tools"))
    except ValueError as error:
        raise ValueError(f"`tools`: {error}") from None
    return {"messages": turns, "tools": tools} if tools else {"messages": turns}


def values(path: Path) -> Iterator[tuple[int, Any]]:
    """Each row of a file as (line, row); of a JSONL line a function that parses it, so that a bad line fails alone.

    Raises:
        UserError: when the file as a whole cannot be read.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"cannot read conversations from a `{path.suffix}` file", where=str(path), expected=", ".join(SUFFIXES)
        )
    if not path.is_file():
        raise UserError("no such file", where=str(path), remedy="check the path")
    if path.suffix.lower() == ".parquet":
        yield from enumerate(contained.read(path), start=1)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 at byte {error.start}", where=str(path), remedy="save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if path.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, lambda line=line: _parsed(line)
        return
    try:
        rows = _parsed(text)
    except ValueError as error:
        raise UserError(str(error), where=str(path)) from error
    if not isinstance(rows, list):
        raise UserError(
            f"a JSON {type(rows).__name__}", where=str(path), expected="a list of rows",
            remedy="for one object a line, name the file .jsonl",
        )  # fmt: skip
    yield from enumerate(rows, start=1)


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from error
    return value


def _joined(prompt: Any, completion: Any) -> list[Any]:
    if isinstance(prompt, str) and isinstance(completion, str):
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    if isinstance(prompt, list) and isinstance(completion, list):
        return [*prompt, *completion]
    raise ValueError("`prompt` and `completion` are not both strings or both lists of messages")


def _turn(turn: Any) -> Row:
    if not isinstance(turn, dict):
        raise ValueError(f"a turn is of type {type(turn).__name__}, not an object with `role` and `content`")
    role, content = turn.get("role"), turn.get("content")
    if role not in _ROLES:
        raise ValueError(f"nobody speaks as {role!r}: expected one of {', '.join(_ROLES)}")
    kept = {key: turn[key] for key in _KEYS if turn.get(key) is not None}
    calls = turn.get("tool_calls") or None
    if calls is None:
        kept.pop("tool_calls", None)
    else:
        if role != "assistant":
            raise ValueError(f"the {role} turn calls tools")
        kept["tool_calls"] = _called(calls)
        if content is None:
            content = kept["content"] = ""
    if not isinstance(content, str):
        what = "missing" if content is None else f"of type {type(content).__name__}, not a string"
        raise ValueError(f"the content of the {role} turn is {what}")
    if not content.strip() and calls is None and role != "tool":
        raise ValueError(f"the content of the {role} turn is empty")
    for key in ("tool_call_id", "name", "reasoning_content"):
        if not isinstance(kept.get(key, ""), str):
            raise ValueError(f"`{key}` of the {role} turn is not a string")
    return kept


def _called(calls: Any) -> list[Row]:
    """Calls in the standard form, their arguments as JSON in a string."""
    made = []
    for call in calls if isinstance(calls, list) else [None]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ValueError("a call of a tool is not an object with `function: {name, arguments}`")
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments or {}, ensure_ascii=False)
        one: Row = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        made.append({"id": call["id"], **one} if isinstance(call.get("id"), str) else one)
    return made


def _check_order(turns: list[Row]) -> None:
    before, called = "", False
    for place, turn in enumerate(turns):
        role = turn["role"]
        if role == "system" and place:
            raise ValueError("a system message after the first turn")
        if role == before and role != "tool":
            raise ValueError(f"two {role} turns in a row")
        if role == "assistant" and before in {"", "system"}:
            raise ValueError("begins with an assistant turn: there is nothing that it answers")
        if role == "tool" and not (called or before == "tool"):
            raise ValueError("a tool's result that no call asked for")
        if role == "user" and before == "tool":
            raise ValueError("a user turn right after a tool's result")
        before, called = role, bool(turn.get("tool_calls"))
    if before != "assistant":
        if all(turn["role"] != "assistant" for turn in turns):
            raise ValueError("has no assistant turn")
        raise ValueError(f"the last turn is of the {before}: there is no answer to it")


def _tools(given: Any) -> list[Row]:
    """The functions that a row offers, in a list, or as JSON in a string."""
    if isinstance(given, str):
        given = _parsed(given) if given.strip() else None
    if given is None:
        return []
    if isinstance(given, list):
        given = [_parsed(one) if isinstance(one, str) else one for one in given]
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ValueError("not a list of functions")
    return given
