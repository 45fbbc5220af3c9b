"""Conversations and dialogues with tools, on the real graph and a scripted SM."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.evals.tools import execute
from understudy.graphs import Outcome, generate
from understudy.models import Scripted
from understudy.nouns import Example
from understudy.recipe import Recipe

ARGUMENTS = [{"name": "place", "type": "string", "description": "Where."},
             {"name": "hours", "type": "integer", "description": "How long."}]  # fmt: skip
TOOLS = [{"name": name, "description": f"Gives the {name}.", "arguments": ARGUMENTS, "returns": "number", "example": "x"}
         for name in ("rain", "wind", "level")]  # fmt: skip
BUILDERS = ["imagined-library", "library-from-code"]
VALUES = {"place": "Bergen", "hours": "12"}


def tools(messages: Any) -> str:
    """Writes requests in the situation that is wanted, and calls what they give."""
    prompt = messages[1]["content"]
    if "Think of a program" in prompt:
        return json.dumps({"tools": TOOLS})
    if "Describe the function" in prompt:
        name = re.findall(r"def (\w+)", prompt)[-1]
        return json.dumps(TOOLS[0] | {"name": name})
    if found := re.search(r"The request needs (.*?)(?:, and gives|\. What is|\. The user)", prompt):
        given = [
            {"tool": tool, "argument": argument, "value": VALUES[argument]}
            for tool, listed in re.findall(r"(\w+) with ([\w, ]+?)(?:, but without \w+)?(?= and \w+ with|$)", found[1])
            for argument in listed.split(", ")
            if argument in VALUES
        ]
        if "no argument takes" in prompt:
            given.append({"tool": given[0]["tool"], "argument": "colour", "value": "turquoise"})
        said = " and ".join(one["value"] for one in given)
        return json.dumps({"request": f"Please look it up for me: {said}.", "given": given})
    return "The tools say so, or I need to know more from you first."


def recipe(folder: Path, leaf: str, **more: Any) -> Recipe:
    (folder / "a.md").write_text(
        "Rain falls on Bergen from the west wind, and the river level rises in twelve hours.\n"
    )
    return Recipe.model_validate(
        {
            "name": "x", "seeds": [{"path": "a.md"}], "accept": 1, "draws_per_seed": 1, "sm": {"backend": "scripted"},
            "personas": {"set": None}, "test_share": 0.0, "agents": {"persona": [], "transform": BUILDERS, "instruct": [leaf], "judge": []},
            "dedup": {"embedding": None, "minhash": None},
        } | more
    ).at(folder)  # fmt: skip


def the_one(outcome: Outcome) -> Example:
    with RunFolder.read(outcome.folder) as folder:
        return next(one for status in ("accepted", "rejected", "failed") for one in folder.examples(status))


def calling(messages: Any) -> str:
    prompt = messages[1]["content"]
    if "Which of the tools above" not in prompt:
        return tools(messages)
    there = [json.loads(line)["name"] for line in prompt.splitlines() if line.startswith('{"name"')]
    request = re.search(r"The user says: (.*)", prompt)
    assert request
    needed = [name for name in WANTED["tools"] if name in there and not WANTED["situation"].endswith("missing")]
    calls = [{"tool": name, "argument": key, "value": value} for name in needed for key, value in VALUES.items()]
    return json.dumps({"calls": calls})


WANTED: dict[str, Any] = {}


@pytest.mark.parametrize(
    "situation",
    ["single-all", "single-superfluous", "single-missing", "single-absent", "several-all", "several-missing",
     "several-absent"],
)  # fmt: skip
async def test_a_dialogue_in_each_situation_is_in_the_standard_form_and_its_calls_run(
    tmp_path: Path, situation: str
) -> None:
    def script(messages: Any) -> str:
        if found := re.search(r"The request needs (.*?)(?:, and gives|\. What is|\. The user)", messages[1]["content"]):
            WANTED.update(situation=situation, tools=[t["name"] for t in TOOLS if f"{t['name']} with" in found[1]])
        return calling(messages)

    example = the_one(await generate(recipe(tmp_path, situation), tmp_path / "out", sm=Scripted(script=script)))
    assert example.status == "accepted", (example.reason, example.verdicts)
    messages, there = example.payload["messages"], example.payload["tools"]
    assert example.scores["rule/tools"] == 1.0
    called = [call for turn in messages for call in turn.get("tool_calls", ())]
    assert bool(called) == situation.endswith(("all", "superfluous")) or situation == "several-absent"
    for call in called:
        assert execute(call, there)[0] is None
    answers = [turn for turn in messages if turn["role"] == "tool"]
    assert [turn["tool_call_id"] for turn in answers] == [call["id"] for call in called]
    assert messages[0]["role"] == "user" and messages[-1]["role"] == "assistant" and messages[-1]["content"]
    absent = set(WANTED["tools"]) - {tool["function"]["name"] for tool in there}
    assert bool(absent) == situation.endswith("absent")
    assert example.path[0] == f"plan/tool-use/{situation}"


async def test_a_request_in_another_situation_than_its_leaf_is_rejected_with_what_it_is(tmp_path: Path) -> None:
    def script(messages: Any) -> str:
        if "The request needs" in messages[1]["content"]:
            return json.dumps({"request": "Please look something up for me.", "given": []})
        return tools(messages)

    example = the_one(await generate(recipe(tmp_path, "single-all"), tmp_path / "out", sm=Scripted(script=script)))
    assert (example.status, example.reason) == ("rejected", "rule/situation")
    assert example.verdicts[0].evidence == "it is single-missing"


async def test_a_call_that_does_not_run_is_rejected(tmp_path: Path) -> None:
    def script(messages: Any) -> str:
        if "Which of the tools above" in messages[1]["content"]:
            return json.dumps({"calls": [{"tool": "rain", "argument": "place", "value": "Bergen"}]})
        return tools(messages)

    example = the_one(await generate(recipe(tmp_path, "single-all"), tmp_path / "out", sm=Scripted(script=script)))
    assert (example.status, example.reason) == ("rejected", "rule/tools")


async def test_a_library_from_code_holds_the_seed_and_the_code_most_like_it(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for name, body in (("rain_sum", "sum(rain)"), ("rain_mean", "sum(rain) / len(rain)"), ("rain_top", "max(rain)"),
                       ("rain_low", "min(rain)"), ("greet", "print('hello there, dear world')")):  # fmt: skip
        (tmp_path / "code" / f"{name}.py").write_text(f"def {name}(rain):\n    return {body}\n")
    made = recipe(tmp_path, "single-missing", seeds=[{"path": "code"}], draws_per_seed=8,
                  agents={"persona": [], "instruct": ["single-missing"], "transform": ["library-from-code"],
                          "judge": []})  # fmt: skip

    def script(messages: Any) -> str:
        prompt = messages[1]["content"]
        if "Describe the function" in prompt:
            (name,) = re.findall(r"def (\w+)", prompt)
            arguments = [{"name": "rain", "type": "array", "description": "Amounts."}]
            return json.dumps(TOOLS[0] | {"name": name, "arguments": arguments})
        if "The request needs" in prompt:
            return json.dumps({"request": "Please tell me how much it rained.", "given": []})
        return json.dumps({"calls": []}) if "Which of the tools above" in prompt else "Which amounts do you mean?"

    await generate(made, tmp_path / "out", sm=Scripted(script=script))
    with RunFolder.read(tmp_path / "out") as folder:
        for example in folder.examples():
            names = [tool["function"]["name"] for tool in example.payload["tools"]]
            if names[0] != "greet":
                assert set(names) == {"rain_sum", "rain_mean", "rain_top", "rain_low"}


def turns(messages: Any) -> str:
    prompt = messages[1]["content"]
    if "as the user would say it" in prompt:
        count = prompt.count("User: ")
        return f"And how does the west wind matter after {count} turns?"
    if "Answer the user" in prompt:
        return f"The west wind brings the rain to Bergen, {prompt.count('User: ') + 1} times."
    return "How does rain fall on Bergen from the west?"


async def test_a_conversation_goes_on_as_long_as_its_leaf_has_it(tmp_path: Path) -> None:
    example = the_one(await generate(recipe(tmp_path, "interview"), tmp_path / "out", sm=Scripted(script=turns)))
    assert example.status == "accepted", example.verdicts
    messages = example.payload["messages"]
    assert [turn["role"] for turn in messages] == ["user", "assistant"] * 4
    assert messages[0]["content"].startswith("How does rain") and messages[-1]["content"].endswith("4 times.")
    assert messages[4]["content"] == "And how does the west wind matter after 2 turns?"
    assert example.path.count("answer/reply") == 4


async def test_a_conversation_with_one_bad_turn_is_rejected_for_it(tmp_path: Path) -> None:
    def script(messages: Any) -> str:
        said = turns(messages)
        return "As an AI language model I cannot say." if "2 times" in said else said

    example = the_one(await generate(recipe(tmp_path, "interview"), tmp_path / "out", sm=Scripted(script=script)))
    assert (example.status, example.reason) == ("rejected", "rule/in-role")


async def test_what_a_turn_takes_up_from_the_talk_before_it_is_grounded(tmp_path: Path) -> None:
    def script(messages: Any) -> str:
        said = turns(messages)
        if "How does rain" in said:
            return said
        return (
            "The west wind brings umbrellas to Bergen."
            if said.startswith("The west")
            else "Do umbrellas matter very much?"
        )

    example = the_one(await generate(recipe(tmp_path, "sum-up"), tmp_path / "out", sm=Scripted(script=script)))
    assert example.status == "accepted", example.verdicts
    assert example.payload["messages"][2]["content"] == "Do umbrellas matter very much?"


async def test_a_turn_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    def script(messages: Any) -> str:
        return "" if "as the user would say it" in messages[1]["content"] else turns(messages)

    example = the_one(await generate(recipe(tmp_path, "sum-up"), tmp_path / "out", sm=Scripted(script=script)))
    assert (example.status, example.reason) == ("failed", "parse: instruct/sum-up")
