"""A monitored run: its alarms on the way, in report.json and on the page, and whether they stop it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from understudy.cli import app
from understudy.corpus import RunFolder
from understudy.graphs import Outcome, Progress, generate
from understudy.graphs import runner as runner_module
from understudy.graphs.watching import settled_rows
from understudy.models import Request, Scripted
from understudy.models.sm import Reply
from understudy.recipe import Recipe


class Speaker(Scripted):
    """Asks about numbers; of two names, one answers in a single word, which the rules refuse."""

    name: str

    @property
    def identity(self) -> str:
        return f"scripted {self.name}"

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        number = request.seed % 100_000
        if "quiz question" in request.messages[1]["content"]:
            return (Reply(f"What does the keeper write about boat number {number} at noon?", 9, 9, False),)
        text = "No" if self.name == "<b>curt</b>" else f"Boat number {number} has passed the lock before noon."
        return (Reply(text, 9, 9, False),)


@pytest.fixture(autouse=True)
def speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(recipe: Recipe, sm: Any = None) -> dict[str, Any]:
        return {"sm": Speaker(name="sm"), "curt": Speaker(name="<b>curt</b>")}

    monkeypatch.setattr(runner_module, "open_sms", opened)


def recipe(folder: Path, **more: Any) -> Recipe:
    (folder / "docs").mkdir(exist_ok=True)
    for number in range(8):
        (folder / "docs" / f"{number}.md").write_text(f"Keeper {number} writes down every boat that passes at noon.\n")
    agents = {"persona": (), "transform": (), "instruct": ("literal-question",), "refine": (), "judge": ()}
    return Recipe.model_validate(
        {
            "name": "watched", "seeds": [{"path": "docs"}], "accept": 90, "draws_per_seed": 100,
            "sm": {"backend": "scripted"}, "sms": {"curt": {"backend": "scripted"}},
            "voices": {"answer": [{"sm": "sm"}, {"sm": "curt"}]}, "personas": {"set": None, "inferred": 0},
            "agents": agents, "refine_rounds": 0, "dedup": {"embedding": None, "minhash": None}, "test_share": 0.25,
            "verify": {"min_grounding": None}, "in_flight": 6, "monitor": {"batch": 60},
        } | more
    ).at(folder)  # fmt: skip


async def run(recipe: Recipe, out: str) -> tuple[Outcome, list[str]]:
    heard: list[str] = []

    def watch(progress: Progress) -> None:
        heard[:] = progress.alarms

    return await generate(recipe, recipe.folder / out, watch), heard


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())["figures"]
    return found


async def test_an_alarm_is_told_on_the_way_and_stands_in_the_report(tmp_path: Path) -> None:
    outcome, heard = await run(recipe(tmp_path), "out")
    assert outcome.ended == "goal"
    assert len(heard) == 1 and heard[0].startswith("batch 1: 0 of ") and "drafts of curt were accepted" in heard[0]
    monitor = told(tmp_path / "out")["monitor"]
    assert [(one["kind"], one["what"]) for one in monitor["alarms"]] == [("model", "curt")]
    assert monitor["batches"] == sum(outcome.books.drafts.values()) // 60
    shown = CliRunner().invoke(app, ["report", str(tmp_path / "out"), "--html", str(tmp_path / "page.html")])
    assert shown.exit_code == 0 and "1 alarm in" in shown.output
    assert "drafts of curt were accepted" in (tmp_path / "page.html").read_text()


async def test_without_the_section_the_report_says_nothing_of_it(tmp_path: Path) -> None:
    _, heard = await run(recipe(tmp_path, monitor=None, accept=10), "out")
    assert heard == [] and "monitor" not in told(tmp_path / "out")


async def test_an_alarm_may_stop_the_run_after_its_batch_and_the_same_command_goes_on(tmp_path: Path) -> None:
    stopping = recipe(tmp_path, monitor={"batch": 60, "stop": True})
    first, _ = await run(stopping, "out")
    assert first.ended == "alarm" and sum(first.books.drafts.values()) == 60
    second, heard = await run(stopping, "out")
    assert second.ended == "goal" and heard == []
    await run(recipe(tmp_path), "whole")
    assert told(tmp_path / "out")["monitor"] == told(tmp_path / "whole")["monitor"]


async def test_settled_drafts_come_back_in_plan_order(tmp_path: Path) -> None:
    await run(recipe(tmp_path), "out")
    with RunFolder.read(tmp_path / "out") as folder:
        turns = [turn for turn, _ in settled_rows(folder)]
        assert turns == list(range(folder.ledger.next_turn()))
