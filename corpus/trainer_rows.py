"""Rows for trainers: one function for each form, each from an example and what people said of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from understudy.corpus.conversations import conversation
from understudy.corpus.folder import RunFolder
from understudy.corpus.reviews import Review, edited
from understudy.corpus.sharegpt import to_sharegpt
from understudy.errors import UserError
from understudy.nouns import Example, Version

Row = dict[str, Any]
# How a version can end without being worse than the one that was kept.
_NOT_WORSE = ("tied", "not understood", "no gain", "repetition", "no answer", "parse", "loop", "refused by the engine")
# What the API takes as the name of a function.
_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What stands between the results of several calls in one observation, as LLaMA-Factory itself joins them.
_BETWEEN_RESULTS = "\n</tool_response>\n<tool_response>\n"


def chat(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """`messages`, and `tools` as JSON in a string where there are some."""
    row: Row = {"messages": edited(example.payload["messages"], review)}
    if tools := example.payload.get("tools"):
        row["tools"] = json.dumps(tools, ensure_ascii=False)
    yield row


def reviewed(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """The same for what people accepted or edited."""
    if review is not None:
        for row in chat(folder, example, review):
            yield row | {"reviewer": review.reviewer}


def prompt_completion(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """TRL's form in which the loss is on the answer alone."""
    for row in chat(folder, example, review):
        *prompt, answer = row.pop("messages")
        yield {"prompt": prompt, "completion": [answer], **row}


def stepwise(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """TRL's form for process reward models: the steps of a solution, and of each whether it is right."""
    if steps := example.payload.get("steps"):
        yield {
            "prompt": example.payload["prompt"],
            "completions": [step["text"] for step in steps],
            "labels": [bool(step["ok"]) for step in steps],
        }


def rows(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """The cells of a row of a table; not of one whose answer people have edited, for the cells are the old ones."""
    if "row" in example.payload and (review is None or review.answer is None):
        yield dict(example.payload["row"])


def sharegpt(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """`conversations` of `from` and `value`; tools as JSON in a string."""
    for row in chat(folder, example, review):
        yield {"conversations": _turns(example, row.pop("messages")), **row}


def openai(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """What the fine-tuning API takes: `messages`, and `tools` where there are some; nothing else.

    Raises:
        UserError: naming an example that the API would refuse.
    """
    for row in chat(folder, example, review):
        try:
            talk = conversation(row)
            names = [tool.get("function", {}).get("name", "") for tool in talk.get("tools", ())]
            for message in talk["messages"]:
                for number, call in enumerate(message.get("tool_calls", ()), start=1):
                    call.setdefault("id", f"call_{number}")
                    names.append(call["function"]["name"])
                    if not isinstance(_json(call["function"]["arguments"]), dict):
                        raise ValueError(f"the arguments of `{names[-1]}` are no JSON object")
                if message["role"] == "tool" and "tool_call_id" not in message:
                    raise ValueError("a tool's result without a `tool_call_id`")
                if not message["content"] and message["role"] == "assistant":
                    del message["content"]
            for name in names:
                if not _FUNCTION.fullmatch(name):
                    raise ValueError(f"`{name}` is no name of a function: 1 to 64 letters, digits, _ and -")
        except ValueError as error:
            raise _refused(example, "OpenAI fine-tuning", error) from error
        yield talk


def llama_factory(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """ShareGPT in which users and assistants strictly take turns: the results of several calls are one observation."""
    for row in sharegpt(folder, example, review):
        yield row | {"conversations": _one_observation(row["conversations"])}


def llama_factory_preference(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """The turns up to the answer, and `chosen` and `rejected` as one turn each."""
    for row in preference(folder, example, review):
        (chosen,), (rejected,) = _turns(example, row["chosen"]), _turns(example, row["rejected"])
        turns = _one_observation(_turns(example, row["prompt"]))
        yield {"conversations": turns, "chosen": chosen, "rejected": rejected}


def preference(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """What was kept against each answer to the same instruction that it replaced or beat."""
    return preferences(example)


def preferences(example: Example) -> Iterator[Row]:
    """The pairs of an example: `prompt`, `chosen` and `rejected`, each a list of messages."""
    *prompt, chosen = example.payload["messages"]
    kept = _last_kept(example)
    said = {chosen["content"], ""}
    wordings = _wordings(example, kept)
    for version in example.versions:
        same = kept and version.instruction in wordings and version.passage == kept.passage
        if not same or version.answer in said or version.outcome.startswith(_NOT_WORSE):
            continue
        said.add(version.answer)
        rejected = {"role": "assistant", "content": version.answer}
        yield {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}


def versions(folder: RunFolder, example: Example, review: Review | None) -> Iterator[Row]:
    """A chat for each version that was kept on the way."""
    kept = _last_kept(example)
    if kept is None:
        yield from ({**row, "round": 0} for row in chat(folder, example, review))
        return
    asked = str(example.payload["messages"][0]["content"])
    attached = asked != kept.instruction
    for version in example.versions:
        if version.outcome.startswith("kept"):
            shown = asked.removesuffix(kept.instruction).rstrip("\n")
            if version.passage != kept.passage:
                shown = version.passage or folder.seed_of(example).content
            content = f"{shown}\n\n{version.instruction}" if attached else version.instruction
            turns = [{"role": "user", "content": content}, {"role": "assistant", "content": version.answer}]
            yield {"messages": turns, "round": version.round}


def _last_kept(example: Example) -> Version | None:
    """The version that the example holds; none of a talk, of which versions are only of its beginning."""
    answer = example.payload["messages"][-1]["content"]
    held = (one for one in reversed(example.versions) if one.outcome.startswith("kept") and one.answer == answer)
    return next(held, None)


def _wordings(example: Example, kept: Version | None) -> set[str]:
    """The instruction as it is held, and as it was before a noiser reworded it: both ask for the same."""
    if kept is None:
        return set()
    same = [one for one in example.versions if one.outcome.startswith("kept") and one.answer == kept.answer]
    return {one.instruction for one in (same[-2:] if kept.by.startswith("noise/") else [kept])}


def _turns(example: Example, messages: list[Row]) -> list[Row]:
    try:
        return to_sharegpt(messages)
    except ValueError as error:
        raise _refused(example, "ShareGPT", error) from error


def _one_observation(turns: list[Row]) -> list[Row]:
    joined: list[Row] = []
    for turn in turns:
        if joined and turn["from"] == joined[-1]["from"] == "observation":
            joined[-1] = turn | {"value": joined[-1]["value"] + _BETWEEN_RESULTS + turn["value"]}
        else:
            joined.append(turn)
    return joined


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _refused(example: Example, form: str, why: ValueError) -> UserError:
    return UserError(
        f"cannot be written for {form}: {why}",
        where=f"example {example.id}",
        remedy="reject or edit it in `understudy traces`, or choose another form",
    )
