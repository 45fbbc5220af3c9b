"""ShareGPT, the turns that LLaMA-Factory and others read: `from` and `value` in place of `role` and `content`.

A call of tools is a turn of its own, `function_call`, whose value is the call as JSON, or a list of several; its result
is an `observation`. There are no ids of calls in this form: they are counted anew.
"""

from __future__ import annotations

import json
from typing import Any

Turn = dict[str, Any]

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
    "function_call": "assistant",
}
_NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


def from_sharegpt(turns: Any) -> list[Turn]:
    """Turns as messages in the standard form.

    Raises:
        ValueError: saying what is wrong, for what has no meaning as a message.
    """
    if not isinstance(turns, list):
        raise ValueError(f"`conversations` is {_kind(turns)}, not a list of turns")
    messages: list[Turn] = []
    calls, waiting = 0, list[str]()
    for turn in turns:
        if not isinstance(turn, dict):
            raise ValueError(f"a turn is {_kind(turn)}, not an object with `from` and `value`")
        speaker = turn.get("from", turn.get("role"))
        said = turn.get("value", turn.get("content"))
        if not isinstance(speaker, str) or speaker not in _ROLES:
            raise ValueError(f"nobody speaks as {speaker!r}: expected one of {', '.join(_ROLES)}")
        if speaker == "function_call":
            made = _calls(said, calls)
            calls += len(made)
            waiting = [call["id"] for call in made]
            messages.append({"role": "assistant", "content": "", "tool_calls": made})
        elif _ROLES[speaker] == "tool":
            known = {"tool_call_id": waiting.pop(0)} if waiting else {}
            messages.append({"role": "tool", "content": said, **known})
        else:
            messages.append({"role": _ROLES[speaker], "content": said})
    return messages


def to_sharegpt(messages: list[Turn]) -> list[Turn]:
    """Messages as turns.

    Raises:
        ValueError: for an assistant's turn that holds text beside its calls, which this form has no place for.
    """
    turns: list[Turn] = []
    for message in messages:
        if not (calls := message.get("tool_calls")):
            turns.append({"from": _NAMES[message["role"]], "value": message["content"]})
            continue
        if (message.get("content") or "").strip():
            raise ValueError("a turn of the assistant holds text beside its calls, for which ShareGPT has no place")
        made = [
            {"name": call["function"]["name"], "arguments": _opened(call["function"]["arguments"])} for call in calls
        ]
        value = json.dumps(made[0] if len(made) == 1 else made, ensure_ascii=False)
        turns.append({"from": "function_call", "value": value})
    return turns


def _calls(said: Any, before: int) -> list[Turn]:
    try:
        given = json.loads(said) if isinstance(said, str) else said
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the value of a `function_call` is not JSON: {error}") from None
    made = []
    for number, call in enumerate(given if isinstance(given, list) else [given], start=before + 1):
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise ValueError("the value of a `function_call` is not an object with `name` and `arguments`")
        arguments = json.dumps(_opened(call.get("arguments", {})), ensure_ascii=False)
        (call["name"] + arguments).encode("utf-8")  # half a surrogate pair is no text, and a ValueError
        function = {"name": call["name"], "arguments": arguments}
        made.append({"id": f"call_{number}", "type": "function", "function": function})
    if not made:
        raise ValueError("a `function_call` without a call")
    return made


def _opened(arguments: Any) -> Any:
    """Arguments as the value that they are, also where they stand as JSON in a string."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
