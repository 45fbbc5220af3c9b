"""Drafts shared out by what each voice adds: on the real graph, with three scripted SMs of known stock."""

import itertools
import json
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.errors import RecipeError
from understudy.evals.allocation import Allocation
from understudy.evals.rules import words
from understudy.graphs import generate, run
from understudy.graphs import runner as runner_module
from understudy.graphs.rehearsal import rehearse
from understudy.models import Request, Scripted
from understudy.models.sm import Reply
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

STOCKS = {"rich": 60, "poor": 6, "dull": 6}
"""Answers that each SM has, drawn evenly; no two share a word pair."""


def answer(name: str, number: int) -> str:
    return " ".join(f"{name}{number}{letter}" for letter in "abcdefgh")


class Stocked(Scripted):
    """Answers from a stock that is its own, drawn by the call's seed."""

    name: str

    @property
    def identity(self) -> str:
        return f"scripted {self.name}"

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        drawn = Random(request.seed)
        if "quiz question" in request.messages[1]["content"]:
            number = drawn.randrange(10**9)
            return (Reply(f"What does keeper number {number} write of lock {number // 7}?", 9, 9, False),)
        return (Reply(answer(self.name, drawn.randrange(STOCKS[self.name])), 9, 9, False),)


def pairs(text: str) -> set[tuple[str, str]]:
    return set(itertools.pairwise(words(text)))


STOCK = set().union(*(pairs(answer(name, place)) for name, size in STOCKS.items() for place in range(size)))


def recipe(folder: Path, drafts: int, **more: Any) -> Recipe:
    (folder / "docs").mkdir(exist_ok=True)
    for number in range(8):
        (folder / "docs" / f"{number}.md").write_text(f"Keeper {number} writes down the level of the water at noon.\n")
    agents = {"persona": (), "transform": (), "instruct": ("literal-question",), "refine": (), "judge": ()}
    return Recipe.model_validate(
        {
            "name": "shared", "seeds": [{"path": "docs"}], "accept": drafts, "draws_per_seed": 100,
            "sm": {"backend": "scripted"}, "sms": {name: {"backend": "scripted"} for name in STOCKS},
            "voices": {"answer": [{"sm": name} for name in STOCKS]}, "personas": {"set": None, "inferred": 0},
            "agents": agents, "refine_rounds": 0, "dedup": {"embedding": None, "minhash": None}, "test_share": 0.25,
            "verify": {"min_grounding": None, "min_words": 1}, "in_flight": 6,
        } | more
    ).at(folder)  # fmt: skip


@pytest.fixture
def stocked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(recipe: Recipe, sm: Any = None) -> dict[str, Any]:
        return {"sm": Stocked(name="rich"), **{name: Stocked(name=name) for name in STOCKS}}

    monkeypatch.setattr(runner_module, "open_sms", opened)


async def made(recipe: Recipe, out: str) -> list[dict[str, Any]]:
    await generate(recipe, recipe.folder / out)
    with RunFolder.read(recipe.folder / out) as folder:
        found = [row for split in ("train", "test") for row in folder.rows("accepted", split)]
        return sorted(found, key=lambda row: folder.ledger.turn(row["id"]))


def got(rows: list[dict[str, Any]]) -> int:
    """How many of the stocks' word pairs the answers hold."""
    return len(STOCK & set().union(*(pairs(row["messages"][-1]["content"]) for row in rows)))


@pytest.mark.usefixtures("stocked")
async def test_four_fifths_of_the_stock_are_reached_with_three_fifths_of_an_even_plan_s_calls(tmp_path: Path) -> None:
    def calls(rows: list[dict[str, Any]]) -> int:
        needed = next(count for count in range(1, len(rows) + 1) if got(rows[:count]) >= 0.8 * len(STOCK))
        return sum(len(row["calls"]) for row in rows[:needed])

    even = [calls(await made(recipe(tmp_path, 320, seed=seed), f"even-{seed}")) for seed in range(3)]
    how = {"of": "answer", "block": 12}
    shared = [calls(await made(recipe(tmp_path, 180, seed=seed, allocate=how), f"shared-{seed}")) for seed in range(3)]
    print(f"\nthree runs: {shared} calls shared out, {even} evenly: {sum(shared) / sum(even):.0%}")
    assert sum(shared) <= 0.6 * sum(even)


@pytest.mark.usefixtures("stocked")
async def test_a_run_that_was_stopped_shares_out_as_one_that_was_not(tmp_path: Path) -> None:
    how = {"of": "answer", "block": 8}
    whole = await made(recipe(tmp_path, 60, allocate=how), "whole")
    await made(recipe(tmp_path, 21, allocate=how), "parts")
    await made(recipe(tmp_path, 43, allocate=how, in_flight=1), "parts")
    parts = await made(recipe(tmp_path, 60, allocate=how, in_flight=30), "parts")
    assert [json.dumps(row, sort_keys=True) for row in parts] == [json.dumps(row, sort_keys=True) for row in whole]
    rich = [words(row["messages"][-1]["content"])[0].startswith("rich") for row in whole]
    assert sum(rich[40:]) > sum(rich[:16])


@pytest.mark.usefixtures("stocked")
def test_a_dry_run_knows_that_the_same_run_again_costs_nothing(tmp_path: Path) -> None:
    how = recipe(tmp_path, 30, allocate={"of": "answer", "block": 8})
    run(how, tmp_path / "out")
    said = rehearse(how, [tmp_path / "out"])
    assert said.whole == said.tried == 30 and said.new_calls == 0


@pytest.mark.usefixtures("stocked")
async def test_filters_are_tried_as_arms_and_the_one_that_lets_little_through_gets_little(tmp_path: Path) -> None:
    how = {"of": "answer", "block": 8, "filters": [{}, {"min_words": 100}]}
    voices = {"answer": [{"sm": "rich"}]}
    await generate(recipe(tmp_path, 40, allocate=how, voices=voices), tmp_path / "out")
    with RunFolder.read(tmp_path / "out") as folder:
        rejected = [folder.ledger.turn(row["id"]) for row in folder.rows("rejected")]
        assert {row["reason"] for row in folder.rows("rejected")} == {"rule/length"}
    assert len([turn for turn in rejected if turn < 16]) == 8
    assert len([turn for turn in rejected if 16 <= turn < 32]) <= 2


def calls_to(goal: float, shared: Allocation | None, seed: int) -> int:
    """How many drafts of two calls it takes to hold so many of the stocks' answers; shared out, or evenly."""
    drawn, names, held = Random(seed), list(STOCKS), set[str]()
    for turn in itertools.count():
        name = names[drawn.randrange(len(names)) if shared is None else shared.arm(turn)]
        said = answer(name, drawn.randrange(STOCKS[name]))
        held.add(said)
        if shared is not None:
            shared.settle([said], 2)
        if len(held) >= goal:
            return 2 * (turn + 1)
    raise AssertionError


def test_over_twenty_seeds_it_takes_three_fifths_of_the_calls_on_average() -> None:
    goal = 0.8 * sum(STOCKS.values())
    even = [calls_to(goal, None, seed) for seed in range(20)]
    shared = [calls_to(goal, Allocation(3, 16, 0.1), seed) for seed in range(20)]
    print(f"\n20 seeds: {mean(shared):.0f} calls shared out, {mean(even):.0f} evenly: {mean(shared) / mean(even):.0%}")
    assert mean(shared) <= 0.6 * mean(even)


def test_an_arm_that_says_the_same_again_is_left_for_one_that_does_not() -> None:
    shared = Allocation(2, 10, 0.2)
    for turn in range(100):
        fresh = shared.arm(turn) == 1
        shared.settle([f"a{turn} b{turn} c{turn}"] if fresh else ["always the same words"], 2)
    later = [shared.arm(turn) for turn in range(100, 110)]
    assert later.count(1) == 9 and later.count(0) == 1
    assert shared.gains[1] == 1.0 and shared.gains[0] < 0.01


def test_words_of_the_seed_are_nothing_new() -> None:
    shared = Allocation(1, 4, 0.5)
    for _ in range(4):
        shared.settle(["the water is high"], 1, known="The water is high at noon.")
    assert shared.gains == [0.0]


def test_a_turn_is_decided_once_the_block_but_one_before_it_is_settled() -> None:
    shared = Allocation(2, 4, 0.1)
    assert shared.ready(7) and not shared.ready(8)
    for _ in range(3):
        shared.settle(["some words"], 1)
    assert not shared.ready(8)
    shared.settle(["some words"], 1)
    assert shared.ready(11) and not shared.ready(12)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("allocate: {of: judge}", "allocate.of"),
        ("allocate: {of: answer, blocks: 9}", "allocate.blocks"),
        ("allocate: {of: answer, filters: [{min_words: 900}, {}]}", "allocate.filters[0]"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_where_it_stands(tmp_path: Path, line: str, where: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nseeds: [{{path: docs}}]\naccept: 1\nvoices: {{answer: {{temperature: 1}}}}\n{line}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.where == f"{path}:5: {where}"
