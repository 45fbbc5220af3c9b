"""Drafts about tools: a library, a request in one of seven situations, and a dialogue whose calls are executed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from langgraph.runtime import Runtime

from understudy.agents import Agent, Given, Library, Tool, ToolTask
from understudy.evals import tools as checks
from understudy.evals.tools import Function, Task
from understudy.graphs.nodes import Update, ask, counted, draft_of, rejected
from understudy.graphs.state import Context, State
from understudy.nouns import Verdict


@counted
async def build_library(state: State, runtime: Runtime[Context]) -> Update:
    """Come by a list of tools: imagined around the seed, or one for each of several pieces of code like it."""
    context = runtime.context
    builders = [
        agent
        for agent in context.catalog.of("transform", state["seed"].kind, state["asked_by"].prompt.skill)
        if agent.prompt.reply in {"Tool", "Library"}
    ]
    agent = context.rng(state, "transform").choice(builders)
    if agent.prompt.reply == "Library":
        said = await ask(state, runtime, agent)
        library: Library = said.value
        found, calls = library.tools, said.calls
    else:
        found, calls = await _from_code(state, runtime, agent)
    tools = {tool.name: tool for tool in found if tool.arguments}  # whoever takes nothing cannot be given too little
    update: Update = {"path": (agent.name,), "calls": calls}
    situation = str(state["asked_by"].prompt.situation)
    count = 2 if situation.startswith("several") else 1
    # One more than are needed: without the one that is left out, others must be there.
    if len(tools) <= count:
        why = f"{len(tools)} tools with arguments, expected {count + 1} or more"
        return update | rejected((Verdict("rule/library", False, None, why),))
    listed = tuple(
        checks.function(tool.name, tool.description, [(a.name, a.type, a.description) for a in tool.arguments])
        for tool in tools.values()
    )
    needed = tuple(context.rng(state, "tools").sample(list(tools), count))
    return update | {"tools": listed, "needed": needed}


async def _from_code(state: State, runtime: Runtime[Context], agent: Agent) -> tuple[list[Tool], tuple[str, ...]]:
    """The interface of the seed's code, then of the code that is most like what there is, and so on."""
    found: list[Tool] = []
    calls: tuple[str, ...] = ()
    for seed in (state["seed"], *await runtime.context.like(state["seed"])):
        said = await ask({**state, "seed": seed}, runtime, agent)
        found.append(said.value)
        calls += said.calls
    return found, calls


@counted
async def request(state: State, runtime: Runtime[Context]) -> Update:
    """Write a request in the situation that the leaf is for, and recompute whether it is in it."""
    agent = state["asked_by"]
    tools, needed = state["tools"], state["needed"]
    wanted = _wanted(state, runtime.context.rng(state, "arguments"))
    said = await ask(state, runtime, agent, tools=_shown(tools), wanted=wanted)
    word: ToolTask = said.value
    task = Task(word.request, needed, _by_tool(word.given))
    if str(agent.prompt.situation).endswith("absent"):
        gone = needed[-1]
        tools = tuple(tool for tool in tools if tool["function"]["name"] != gone)
    update: Update = {
        "instruction": word.request,
        "task": task,
        "tools": tools,
        "path": (agent.name,),
        "calls": said.calls,
    }
    found = checks.situation(task, tools)
    verdict = Verdict("rule/situation", found == agent.prompt.situation, None, f"it is {found}")
    return update | (rejected((verdict,)) if not verdict.passed else {})


def _wanted(state: State, rng: Random) -> str:
    """Which tools the request is to need, in words for the prompt, and which argument it is to leave out."""
    parts = []
    arguments = {tool["function"]["name"]: tool["function"]["parameters"]["required"] for tool in state["tools"]}
    for place, name in enumerate(state["needed"]):
        left = list(arguments[name])
        if str(state["asked_by"].prompt.situation).endswith("missing") and place == len(state["needed"]) - 1:
            out = left.pop(rng.randrange(len(left)))
            parts.append(f"{name} with {', '.join(left) or 'no argument'}, but without {out}")
        else:
            parts.append(f"{name} with {', '.join(left)}")
    return " and ".join(parts)


def _shown(tools: tuple[Function, ...]) -> str:
    return "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)


def _by_tool(given: list[Given]) -> dict[str, dict[str, str]]:
    out: dict[str, dict[str, str]] = {}
    for one in given:
        out.setdefault(one.tool, {})[one.argument] = one.value
    return out


@counted
async def use_tools(state: State, runtime: Runtime[Context]) -> Update:
    """Let the assistant call tools, execute the calls on stubs, and let it say what came of them."""
    context, tools, task = runtime.context, state["tools"], state["task"]
    able = context.catalog.of("answer", state["seed"].kind, state["asked_by"].prompt.skill)
    callers, speakers = ([a for a in able if (a.prompt.reply == "Calls") == calls] for calls in (True, False))
    caller = context.rng(state, "call").choice(callers)
    said = await ask(state, runtime, caller, tools=_shown(tools), instruction=state["instruction"], results="")
    made = checks.calls_of(_by_tool(said.value.calls), tools)
    verdict = checks.calls_fit(task, state["asked_by"].prompt.situation or "single-all", made, tools)
    update: Update = {"path": (caller.name,), "calls": said.calls, "answer": ""}
    messages: list[dict[str, Any]] = [{"role": "user", "content": state["instruction"]}]
    results = []
    if made:
        messages.append({"role": "assistant", "content": "", "tool_calls": made})
        for call in made:
            _, result = checks.execute(call, tools)
            results.append(f"{call['function']['name']}: {result}")
            name = call["function"]["name"]
            messages.append({"role": "tool", "tool_call_id": call["id"], "name": name, "content": result})
    update["dialogue"] = tuple(messages)
    if not verdict.passed:
        return update | rejected((verdict,))
    speaker = context.rng(state, "answer").choice(speakers)
    last = await ask(
        state, runtime, speaker, tools=_shown(tools), instruction=state["instruction"],
        results="\n".join(results) or "no tool was called",
    )  # fmt: skip
    update["path"] += (speaker.name,)
    update["calls"] += last.calls
    update |= {"answer": last.value, "round": 0, "improved": True, "checked": (verdict,)}
    return update | {"draft": draft_of(state, runtime, last.value)}
