"""The refine loop's scale: what it adopts and when it leaves."""

from types import SimpleNamespace
from typing import Any

import pytest

from understudy.agents import load_catalog
from understudy.graphs import nodes, refining
from understudy.graphs.state import Draft
from understudy.nouns import Seed
from understudy.recipe import Recipe, Source

SEED = Seed.of("text", "Wild yeast makes gas, and the gas makes the dough rise in the warm kitchen.", "a.md:1")
EDITOR = next(agent for agent in load_catalog() if agent.name == "refine/clearer-answer")
GOOD = "Wild yeast makes gas in the dough."
ASTRAY = "Rockets burn kerosene while gas reaches orbit quickly."


def runtime() -> Any:
    recipe = Recipe(name="x", seeds=(Source(path="."),), accept=1)
    return SimpleNamespace(context=SimpleNamespace(recipe=recipe, limits=lambda state: recipe.verify))


def state(instruction: str, answer: str, draft: Draft | None = None) -> Any:
    asked_by = next(agent for agent in load_catalog() if agent.name == "instruct/why-question")
    base = {"seed": SEED, "asked_by": asked_by, "instruction": instruction, "answer": answer}
    return base | (
        {"draft": draft, "round": 1, "editor": EDITOR, "versions": (draft.version("answer/answer", 0, "kept"),)}
        if draft
        else {}
    )


QUESTION = "Why does the dough rise in the kitchen?"


def drafted(answer: str) -> Draft:
    return nodes.draft_of(state(QUESTION, answer), runtime(), answer)


async def test_a_better_answer_is_adopted_and_the_loop_goes_on() -> None:
    worse = drafted(ASTRAY)
    update = await refining.weigh(state(QUESTION, GOOD, worse), runtime())
    assert update["draft"].answer == GOOD
    assert update["improved"]


@pytest.mark.parametrize("edit", [ASTRAY, GOOD, ""], ids=["worse", "unchanged", "none"])
async def test_an_edit_that_does_not_improve_ends_the_loop_and_the_draft_stands(edit: str) -> None:
    good = drafted(GOOD)
    update = await refining.weigh(state(QUESTION, edit, good), runtime())
    assert (update["instruction"], update["answer"], update["improved"]) == (QUESTION, GOOD, False)
    assert "draft" not in update


async def test_an_edit_as_good_as_the_draft_is_adopted_but_ends_the_loop() -> None:
    good = drafted(GOOD)
    other = "The gas makes the dough rise."
    update = await refining.weigh(state(QUESTION, other, good), runtime())
    assert update["draft"].answer == other
    assert not update["improved"]
