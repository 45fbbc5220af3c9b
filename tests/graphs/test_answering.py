"""Several candidate answers: which is kept, and what is said of the others."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.graphs import generate
from understudy.models import Scripted
from understudy.models.sm import Reply, Request
from understudy.nouns import Example
from understudy.recipe import Recipe

GOOD, BETTER = "Wild yeast makes gas in the dough.", "Wild yeast makes gas, and the gas makes the dough rise."
ASTRAY = "Rockets burn kerosene while orbiting satellites quickly drift."


class Choosing(Scripted):
    """Answers in turn from a list; `judge` is shown the two answers and says A or B."""

    answers: Any
    judge: Any
    count: int = 0

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        task = request.messages[-1]["content"]
        if "Answer A:" in request.messages[1]["content"]:
            found = re.search(r"Answer A: (.*?)\n\nAnswer B: (.*?)\n\nWhich", request.messages[1]["content"], re.DOTALL)
            assert found
            text = self.judge(*found.groups())
        elif '"why" question' in task:
            text = "Why does the dough rise in the kitchen?"
        else:
            text = self.answers[self.count % len(self.answers)]
            self.count += 1
        return (Reply(text, 20, 10, False),)


def likes(wanted: str) -> Callable[[str, str], str]:
    return lambda first, second: "A" if first == wanted else "B"


async def example(folder: Path, answers: list[str], judge: Callable[[str, str], str], **more: Any) -> Example:
    (folder / "a.md").write_text("Wild yeast makes gas, and the gas makes the dough rise in the warm kitchen.\n")
    recipe = Recipe.model_validate(
        {
            "name": "x", "seeds": [{"path": "a.md"}], "accept": 1, "draws_per_seed": 1, "sm": {"backend": "scripted"},
            "personas": {"set": None}, "refine_rounds": 0, "candidates": len(answers), "test_share": 0.0,
            "agents": {"persona": [], "transform": [], "instruct": ["why-question"], "judge": ["helps-more"]},
            "dedup": {"embedding": None, "minhash": None},
        } | more
    ).at(folder)  # fmt: skip
    await generate(recipe, folder / "out", sm=Choosing(answers=answers, judge=judge))
    with RunFolder.read(folder / "out") as out:
        return next(one for status in ("accepted", "rejected", "failed") for one in out.examples(status))


def outcomes(one: Example) -> dict[str, str]:
    return {version.answer: version.outcome for version in one.versions}


async def test_the_answer_that_wins_in_both_orders_is_kept_and_the_other_is_on_record(tmp_path: Path) -> None:
    one = await example(tmp_path, [GOOD, BETTER], likes(BETTER))
    assert one.payload["messages"][1]["content"] == BETTER
    assert outcomes(one) == {GOOD: "worse than another", BETTER: "kept"}
    assert len(one.calls) == 1 + 2 + 2  # the question, two answers, two orders


async def test_a_judge_that_goes_by_place_decides_nothing(tmp_path: Path) -> None:
    one = await example(tmp_path, [GOOD, BETTER], lambda first, second: "A")
    assert outcomes(one) == {GOOD: "kept", BETTER: "tied"}


@pytest.mark.parametrize("word", ["both are fine", "A or B", ""])
async def test_a_judgement_that_cannot_be_read_is_counted_and_loses_nothing(tmp_path: Path, word: str) -> None:
    one = await example(tmp_path, [GOOD, BETTER], lambda first, second: word)
    assert one.status == "accepted"
    assert outcomes(one) == {GOOD: "kept", BETTER: "not understood"}


async def test_an_answer_that_breaks_a_rule_loses_without_a_judge(tmp_path: Path) -> None:
    def nobody(first: str, second: str) -> str:
        raise AssertionError("asked")

    one = await example(tmp_path, [ASTRAY, GOOD], nobody)
    assert outcomes(one) == {ASTRAY: "rule/grounding", GOOD: "kept"}


async def test_the_same_answer_twice_is_one_candidate(tmp_path: Path) -> None:
    one = await example(tmp_path, [GOOD, GOOD], likes(GOOD))
    assert one.versions == () and len(one.calls) == 3


async def test_an_answer_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    one = await example(tmp_path, ["", GOOD, "", BETTER], likes(BETTER))
    assert one.status == "accepted"
    assert one.payload["messages"][1]["content"] in {GOOD, BETTER}


async def test_without_any_answer_that_can_be_read_the_draft_fails_with_all_its_calls(tmp_path: Path) -> None:
    one = await example(tmp_path, ["", ""], likes(GOOD))
    assert (one.status, one.reason) == ("failed", "parse: answer/answer")
    assert len(one.calls) == 1 + 2 * 2
