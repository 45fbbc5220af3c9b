"""Tools without a model: their JSON schemas, stubs that stand in for them, and checks of what is asked and called.

AgentInstruct (arXiv 2407.03502) names seven situations of a request: it needs one tool or several, and it gives all
arguments, some that no tool takes, or not all; or a tool that it needs is not there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from understudy.nouns import Verdict
from understudy.prompt import Situation

Function = dict[str, Any]
"""A tool in the standard form: `{"type": "function", "function": {"name", "description", "parameters"}}`."""


@dataclass(frozen=True, slots=True)
class Task:
    """A request, the tools it needs, and the values that it gives, by tool and argument."""

    request: str
    needed: tuple[str, ...]
    given: Mapping[str, Mapping[str, str]]


def function(name: str, description: str, arguments: Iterable[tuple[str, str, str]]) -> Function:
    """A tool in the standard form, of arguments as (name, JSON type, description); all are required."""
    fields = {name: {"type": kind, "description": what} for name, kind, what in arguments}
    parameters = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def situation(task: Task, tools: Sequence[Function]) -> Situation:
    """What situation a request is in, recomputed from the request and the tools that are there.

    A value counts as given if it stands in the request.
    """
    known = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    several = len(task.needed) > 1
    if any(name not in known for name in task.needed):
        return "several-absent" if several else "single-absent"
    said = {
        (name, argument)
        for name in task.needed
        for argument, value in task.given.get(name, {}).items()
        if _stands(value, task.request)
    }
    wanted = {(name, argument) for name in task.needed for argument in known[name]["required"]}
    if wanted - said:
        return "several-missing" if several else "single-missing"
    extra = [
        value
        for name, values in task.given.items()
        for argument, value in values.items()
        if (name, argument) not in wanted and _stands(value, task.request)
    ]
    if extra and not several:
        return "single-superfluous"
    return "several-all" if several else "single-all"


def calls_of(given: Mapping[str, Mapping[str, str]], tools: Sequence[Function]) -> list[dict[str, Any]]:
    """Values by tool and argument as calls in the standard form, each value in its argument's type where it can be."""
    known = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in tools}
    calls = []
    for number, (name, values) in enumerate(given.items(), start=1):
        fields = known.get(name, {})
        typed = {key: _typed(value, fields.get(key, {}).get("type", "string")) for key, value in values.items()}
        arguments = json.dumps(typed, ensure_ascii=False)
        calls.append({"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}})
    return calls


def execute(call: Mapping[str, Any], tools: Sequence[Function]) -> tuple[str | None, str]:
    """Execute a call on a stub: why it cannot be, or None, and what the stub returns, as JSON.

    The same call always returns the same.
    """
    name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
    found = next((tool["function"] for tool in tools if tool["function"]["name"] == name), None)
    if found is None:
        return f"there is no tool {name}", json.dumps({"error": "unknown tool"})
    problem = next(iter(Draft202012Validator(found["parameters"]).iter_errors(arguments)), None)
    if problem is not None:
        return f"{name}: {problem.message}", json.dumps({"error": problem.message})
    digest = hashlib.blake2b(f"{name}{call['function']['arguments']}".encode(), digest_size=4).hexdigest()
    return None, json.dumps({"result": int(digest, 16) % 1000, "for": arguments}, ensure_ascii=False)


def calls_fit(
    task: Task, declared: Situation, calls: Sequence[Mapping[str, Any]], tools: Sequence[Function]
) -> Verdict:
    """Whether an assistant's calls are what a request in this situation wants.

    Every call must run. With all arguments given, the needed tools are called with the values of the request; where
    something is missing or absent, no tool is called that lacks something.
    """
    for call in calls:
        problem, _ = execute(call, tools)
        if problem is not None:
            return Verdict("rule/tools", False, 0.0, problem)
    made = {call["function"]["name"]: json.loads(call["function"]["arguments"]) for call in calls}
    possible = _possible(task, tools)
    for name in made:
        if name not in possible:
            return Verdict(
                "rule/tools", False, 0.0, f"{name} was called, which the request has no use or no values for"
            )
    absent = [name for name in possible if name not in made]
    if absent and declared.endswith(("all", "superfluous")):
        return Verdict("rule/tools", False, 0.0, f"{absent[0]} was not called")
    for name, arguments in made.items():
        wrong = [key for key, value in arguments.items() if not _same(value, task.given[name].get(key))]
        if wrong:
            return Verdict("rule/tools", False, 0.0, f"{name}: `{wrong[0]}` is not what the request gives")
    return Verdict("rule/tools", True, 1.0, f"{len(calls)} calls, all executed")


def _possible(task: Task, tools: Sequence[Function]) -> list[str]:
    """The needed tools that are there and have all their arguments."""
    known = {tool["function"]["name"]: tool["function"]["parameters"]["required"] for tool in tools}
    return [
        name
        for name in task.needed
        if name in known
        and all(_stands(task.given.get(name, {}).get(argument, ""), task.request) for argument in known[name])
    ]


def _stands(value: str, request: str) -> bool:
    return bool(value.strip()) and value.strip().casefold() in request.casefold()


def _same(one: Any, other: str | None) -> bool:
    return other is not None and str(one).strip().casefold() == str(_typed(other, _type(one))).strip().casefold()


def _type(value: Any) -> str:
    return {bool: "boolean", int: "integer", float: "number"}.get(type(value), "string")


def _typed(value: str, kind: str) -> Any:
    """A value in a JSON type, or as it is where it is none of that type."""
    try:
        if kind in {"integer", "number"}:
            number = float(re.sub(r"[^\d.eE+-]", "", value))
            return int(number) if kind == "integer" or number.is_integer() else number
        if kind == "boolean":
            return {"true": True, "yes": True, "false": False, "no": False}[value.strip().casefold()]
        if kind in {"array", "object"}:
            return json.loads(value)
    except (ValueError, KeyError, OverflowError):
        return value
    return value
