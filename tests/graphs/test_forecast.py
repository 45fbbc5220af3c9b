"""The forecast after a pilot: what it says, how often its interval holds, and what becomes of a no."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.graphs import generate, runner
from understudy.graphs.forecast import Forecast, forecast
from understudy.models import Constraint, Scripted
from understudy.nouns import Messages
from understudy.recipe_file import load_recipe

PILOT = 48


def drafts(rng: Random, count: int, rate: float) -> list[tuple[bool, int]]:
    """Drafts of which some are accepted, and dearer then."""
    out = []
    for _ in range(count):
        good = rng.random() < rate
        out.append((good, rng.randrange(900, 1500) if good else rng.randrange(200, 900)))
    return out


def told(pilot: list[tuple[bool, int]], accept: int, turns: int = 10**6, **changes: Any) -> Forecast:
    spent = sum(tokens for _, tokens in pilot)
    known: dict[str, Any] = {"spent_tokens": spent, "spent_money": spent / 1e6, "seconds": 10.0}
    return forecast(pilot, accept, turns, **known | changes)


@pytest.mark.parametrize("rate", [pytest.param(0.08, marks=pytest.mark.slow), 0.4, 0.9])
def test_nine_of_ten_intervals_hold_what_comes_out(rate: float) -> None:
    held = {"drafts": 0, "tokens": 0}
    for trial in range(100):
        rng = Random(f"{rate}:{trial}")
        pilot = drafts(rng, PILOT, rate)
        said = told(pilot, 200)
        run = list(pilot)
        while sum(good for good, _ in run) < 200:
            run += drafts(rng, 1, rate)
        held["drafts"] += said.drafts.holds(len(run))
        held["tokens"] += said.tokens.holds(sum(tokens for _, tokens in run))
    assert min(held.values()) >= 80, held


def test_the_same_pilot_makes_the_same_forecast_and_survives_json() -> None:
    pilot = drafts(Random(1), PILOT, 0.5)
    assert told(pilot, 100) == told(pilot, 100) == Forecast.of(json.loads(json.dumps(told(pilot, 100).as_dict())))


def test_a_pilot_of_which_nothing_was_accepted_promises_little() -> None:
    said = told([(False, 500)] * PILOT, 100, turns=1000)
    assert said.acceptance.high < 0.1
    assert said.within_plan < 0.05
    assert said.drafts.high <= 1000


def test_a_pilot_of_which_all_was_accepted_needs_about_as_many_drafts_as_asked_for() -> None:
    said = told([(True, 500)] * PILOT, 100)
    assert 100 <= said.drafts.low <= said.drafts.middle <= 103
    assert said.within_plan == 1


async def run(project: Path, answer: bool, *sets: str) -> tuple[runner.Outcome, list[Forecast]]:
    asked: list[Forecast] = []

    def ask(said: Forecast) -> bool:
        asked.append(said)
        return answer

    recipe = load_recipe(project / "recipe.yaml", ("accept=60", "draws_per_seed=100", *sets))
    return await generate(recipe, project / "out", ask=ask), asked


async def test_after_a_yes_the_run_goes_on_and_its_cost_was_foretold(project: Path) -> None:
    outcome, (said,) = await run(project, True)
    assert outcome.ended == "goal"
    assert (said.accept, said.pilot) == (60, runner.PILOT)
    assert said.drafts.holds(sum(outcome.books.drafts.values()))


async def test_after_a_no_the_corpus_is_valid_and_the_same_command_asks_again(project: Path) -> None:
    outcome, asked = await run(project, False)
    assert len(asked) == 1
    assert (outcome.ended, sum(outcome.books.drafts.values())) == ("interrupted", runner.PILOT)
    with RunFolder.read(project / "out") as folder:
        assert len(list(folder.examples())) == outcome.books.drafts["accepted"]
    again, asked = await run(project, True)
    assert (again.ended, len(asked)) == ("goal", 1)


async def test_who_has_agreed_is_asked_again_only_for_more(project: Path) -> None:
    await run(project, True)
    _, asked = await run(project, False, "accept=55")
    assert asked == []
    outcome, asked = await run(project, True, "accept=70")
    assert [said.accept for said in asked] == [70]
    assert outcome.books.drafts["accepted"] == 70


async def test_a_goal_that_the_pilot_meets_asks_nobody(project: Path) -> None:
    outcome, asked = await run(project, False, "accept=5")
    assert (outcome.ended, asked) == ("goal", [])


async def test_asking_changes_nothing_in_the_corpus(project: Path) -> None:
    asked, _ = await run(project, True)
    plain = await generate(load_recipe(project / "recipe.yaml", ("accept=60", "draws_per_seed=100")), project / "plain")
    digests = []
    for outcome in (asked, plain):
        with RunFolder.read(outcome.folder) as folder:
            digests.append(folder.digest)
    assert digests[0] == digests[1]


class Strict(Scripted):
    """Its judge accepts two drafts of five."""

    def _next(self, messages: Messages, seed: int, constraint: Constraint | None) -> str:
        if constraint and constraint.kind == "schema":
            return json.dumps({"passes": seed % 5 < 2, "reason": "as the draft deserves"})
        return super()._next(messages, seed, constraint)


@pytest.mark.parametrize("run_seed", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_two_hundred_are_accepted_of_two_in_five_and_the_forecast_held(
    project: Path, run_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        f"{one}{two}" for one in ("ba", "de", "fi", "go", "lu", "mer", "nos") for two in ("rak", "tin", "pol", "vem")
    ]
    texts = [" ".join(Random(n).choices(words, k=40)).capitalize() + "." for n in range(500)]
    (project / "seeds.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    recipe = load_recipe(
        project / "recipe.yaml",
        ('seeds=[{"path": "seeds.jsonl", "text_field": "text"}]', "accept=200", "draws_per_seed=4", f"seed={run_seed}",
         'agents={"transform": [], "refine": [], "judge": ["relevant"]}', "dedup.embedding=null", "in_flight=16"),
    )  # fmt: skip
    runs: list[runner._Run] = []
    started = runner._Run.go

    async def kept(self: runner._Run) -> runner.Outcome:
        runs.append(self)
        return await started(self)

    monkeypatch.setattr(runner._Run, "go", kept)
    asked: list[Forecast] = []

    def ask(said: Forecast) -> bool:
        asked.append(said)
        return True

    outcome = await generate(recipe, project / "out", sm=Strict(), ask=ask)
    assert (outcome.ended, outcome.books.drafts["accepted"]) == ("goal", 200)
    assert 0.3 < 200 / sum(outcome.books.drafts.values()) < 0.5
    (said,) = asked
    assert said.drafts.holds(sum(outcome.books.drafts.values()))
    assert said.tokens.holds(outcome.books.tokens)
    # What was begun and not needed: no more than the drafts that are under way at once.
    (run,) = runs
    assert run.launched - run.settled <= 16
    assert outcome.books.tokens_by_status["unfinished"] < 0.03 * outcome.books.tokens
