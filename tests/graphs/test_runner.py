"""The runner: many drafts at once, one result."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.errors import EngineTransient, PromptError, RunFolderError, StorageError
from understudy.graphs import Outcome, generate, runner, shards
from understudy.models import Scripted
from understudy.models.improvise import improvise
from understudy.models.sm import Constraint, Reply, Request
from understudy.recipe_file import load_recipe


class Talking(Scripted):
    """Improvises, except where `say` has something to say: it is shown the task and the constraint."""

    say: Any = None

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        messages, constraint = request.messages, request.constraint
        self._asked.append(messages)
        text = self.say(messages[-1]["content"], constraint) or improvise(messages, request.seed, constraint)
        return (Reply(text, 50, 10, False),)


async def run(project: Path, out: str = "out", *sets: str, say: Callable[..., str | None] | None = None) -> Outcome:
    recipe = load_recipe(project / "recipe.yaml", sets)
    return await generate(recipe, project / out, sm=Talking(say=say) if say else None)


def rows(project: Path, out: str = "out") -> dict[str, list[dict[str, Any]]]:
    with RunFolder.read(project / out) as folder:
        return {status: list(folder.rows(status)) for status in ("accepted", "rejected", "duplicate", "failed")}


def every_row(project: Path, out: str) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for group in rows(project, out).values() for row in group)


async def test_a_run_ends_with_exactly_what_was_asked_for_and_its_books_closed(project: Path) -> None:
    outcome = await run(project)
    books = outcome.books
    assert outcome.ended == "goal"
    assert books.drafts["accepted"] == 8
    assert sum(books.seeds.values()) == 6
    assert set(books.by_kind) == {"text", "table", "code"}
    assert sum(books.tokens_by_status.values()) == books.tokens


async def test_every_accepted_example_has_a_seed_a_path_of_agents_and_a_verdict(project: Path) -> None:
    await run(project)
    with RunFolder.read(project / "out") as folder:
        for example in folder.examples():
            assert folder.seed_of(example).id == example.seed
            families = [step.split("/")[0] for step in example.path]
            assert families[0] == "plan" and families[1] in {"persona", "persona-set"}
            assert {"transform", "instruct", "answer", "judge"} <= set(families)
            assert example.verdicts and all(verdict.passed for verdict in example.verdicts)
            assert [turn["role"] for turn in example.payload["messages"]] == ["user", "assistant"]
            assert all(folder.call(key) for key in example.calls)


async def test_the_corpus_does_not_depend_on_how_many_drafts_are_in_flight(project: Path) -> None:
    await run(project, "one", "in_flight=1")
    await run(project, "many", "in_flight=16")
    assert every_row(project, "one") == every_row(project, "many")


async def test_a_run_that_waits_for_a_slow_disk_is_not_over(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = RunFolder.commit

    def slow(*args: Any) -> Any:
        time.sleep(0.05)
        return commit(*args)

    monkeypatch.setattr(shards, "SHARD_DRAFTS", 1)
    monkeypatch.setattr(runner, "_MOST_UNWRITTEN", 1)
    monkeypatch.setattr(RunFolder, "commit", slow)
    assert (await run(project, "out", "in_flight=1")).ended == "goal"


async def test_a_finished_run_is_run_again_without_a_call(project: Path) -> None:
    await run(project)
    again = await run(project)
    assert (again.ended, again.calls_made) == ("goal", 0)


async def test_raising_the_goal_goes_on_where_the_run_stood(project: Path) -> None:
    await run(project)
    before = {row["id"] for row in rows(project)["accepted"]}
    await run(project, "out", "accept=12")
    after = {row["id"] for row in rows(project)["accepted"]}
    assert before < after and len(after) == 12
    await run(project, "whole", "accept=12")
    assert every_row(project, "whole") == every_row(project, "out")


async def test_a_folder_of_another_recipe_is_refused_with_the_keys_that_differ(project: Path) -> None:
    await run(project)
    with pytest.raises(RunFolderError, match=r"another recipe.*seed: 0 -> 5"):
        await run(project, "out", "seed=5")


async def test_of_equal_instructions_the_earliest_alone_stays(project: Path) -> None:
    def say(task: str, constraint: Constraint | None) -> str | None:
        asks = constraint and constraint.kind == "regex" and re.search(r"\\\?$|\\\.$", constraint.value)
        return "What makes the sourdough bread rise?" if asks and "person who works" not in task else None

    await run(
        project, "out", "agents.instruct=[literal-question]", "seeds=[{path: docs, chunk_tokens: 60}]",
        "agents.persona=[]", "agents.transform=[]", "agents.refine=[]", "verify.min_grounding=null", say=say,
    )  # fmt: skip
    found = rows(project)
    passed_gate = found["accepted"] + found["rejected"]
    assert len(passed_gate) == 1
    assert found["duplicate"]
    for row in found["duplicate"]:
        assert row["parents"] == [passed_gate[0]["id"]]
        assert row["reason"] == "same words"
        assert row["verdicts"][-1]["evidence"] == f"like {passed_gate[0]['id']}"


async def test_a_duplicate_names_the_example_that_stays_across_shards_and_sittings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(task: str, constraint: Any) -> str | None:
        asks = constraint and constraint.kind == "regex" and re.search(r"\\\?$|\\\.$", constraint.value)
        return "What makes the sourdough bread rise?" if asks else None

    monkeypatch.setattr("understudy.graphs.shards.SHARD_DRAFTS", 2)
    sets = (
        "agents.instruct=[literal-question]", "seeds=[{path: docs, chunk_tokens: 60}]", "agents.persona=[]",
        "agents.transform=[]", "agents.refine=[]", "agents.judge=[]", "verify.min_grounding=null",
    )  # fmt: skip
    await run(project, "whole", *sets, say=say)
    await run(project, "out", *sets, "accept=1", say=say)
    assert sum(len(group) for group in rows(project).values()) < 16
    await run(project, "out", *sets, say=say)
    found = rows(project)
    (stays,) = found["accepted"]
    assert len(found["duplicate"]) >= 8
    assert {row["parents"][0] for row in found["duplicate"]} == {stays["id"]}
    assert every_row(project, "out") == every_row(project, "whole")


async def test_a_reply_that_cannot_be_read_twice_is_counted_with_its_agent(project: Path) -> None:
    outcome = await run(
        project, "out", "accept=1", "draws_per_seed=1",
        say=lambda task, constraint: "no JSON" if constraint and constraint.kind == "schema" else None,
    )  # fmt: skip
    assert outcome.ended == "turns"
    assert outcome.books.drafts["accepted"] == 0
    assert any(reason.startswith("failed: parse: judge/") for reason in outcome.books.reasons)
    assert sum(outcome.books.drafts.values()) == 6


async def test_a_judge_that_says_no_rejects_with_its_name(project: Path) -> None:
    no = json.dumps({"passes": False, "reason": "beside the point"})
    outcome = await run(
        project, "out", "accept=1", "draws_per_seed=1", "agents.judge=[relevant]",
        "agents.instruct=[why-question, code-usage, table-lookup]",
        say=lambda task, constraint: no if constraint and constraint.kind == "schema" else None,
    )  # fmt: skip
    assert outcome.books.reasons["rejected: judge/relevant"] > 0
    assert rows(project)["rejected"][0]["verdicts"][-1]["evidence"]


async def test_the_token_budget_is_never_passed_and_a_larger_one_goes_on(project: Path) -> None:
    small = await run(project, "out", "budget.tokens=9000")
    assert small.ended == "budget"
    assert small.books.tokens <= 9000
    large = await run(project, "out", "budget.tokens=900000")
    assert large.ended == "goal"
    await run(project, "whole")
    assert every_row(project, "out") == every_row(project, "whole")


async def test_an_engine_that_fails_stops_the_run_and_blames_no_seed(project: Path) -> None:
    asked = 0

    def say(task: str, constraint: Constraint | None) -> str | None:
        nonlocal asked
        asked += 1
        if asked > 30:
            raise EngineTransient("connection refused")
        return None

    with pytest.raises(EngineTransient):
        await run(project, say=say)
    with RunFolder.read(project / "out") as folder:
        books = folder.accounting()
        assert sum(books.drafts.values()) == 0
        assert books.seeds["pending"] == 6
        assert books.tokens > 0
    assert (await run(project, say=lambda task, constraint: None)).ended == "goal"


async def test_an_earlier_corpus_counts_as_taken(project: Path) -> None:
    await run(project, "first")
    second = await run(project, "second", "accept=200", "draws_per_seed=4", "dedup.against=[first]")
    alone = await run(project, "alone", "accept=200", "draws_per_seed=4")
    assert second.books.drafts["duplicate"] >= alone.books.drafts["duplicate"] + 8


async def test_an_unknown_agent_stops_the_run_before_anything_is_written(project: Path) -> None:
    with pytest.raises(PromptError, match="did you mean `faithful`"):
        await run(project, "out", "agents.judge=[faithfull]")
    assert not (project / "out").exists()


async def test_filters_are_switches(project: Path) -> None:
    outcome = await run(
        project, "out", "dedup.minhash=null", "dedup.embedding=null", "agents.judge=[]", "refine_rounds=0",
        "agents.transform=[]", "personas.set=null", "agents.persona=[]", "verify.min_grounding=null",
    )  # fmt: skip
    assert outcome.ended == "goal"
    row = rows(project)["accepted"][0]
    assert row["persona"] is None
    assert [step.split("/")[0] for step in row["path"]] == ["plan", "transform", "instruct", "answer"]


@pytest.mark.parametrize("slow", ["gate", "final"])
async def test_a_run_goes_on_while_an_index_is_being_filled(
    project: Path, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(project, "whole")
    await run(project, "out", "accept=3")
    filled = runner.fill

    def slowly(index: Any, stage: str, *rest: Any) -> Any:
        for _ in filled(index, stage, *rest):
            time.sleep(0.4 if stage == slow else 0)
            yield

    monkeypatch.setattr(runner, "fill", slowly)
    assert (await run(project, "out")).ended == "goal"
    assert every_row(project, "out") == every_row(project, "whole")


async def test_an_index_that_cannot_be_filled_stops_the_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise StorageError("cannot write: no space", where="somewhere")
        yield

    monkeypatch.setattr(runner, "fill", broken)
    with pytest.raises(StorageError, match="no space"):
        await run(project, "out")


@pytest.mark.parametrize("draw", ["relevance", "spread"])
async def test_who_is_drawn_for_a_seed_does_not_depend_on_what_runs_beside_it(project: Path, draw: str) -> None:
    sets = (f"personas.draw={draw}", "personas.inferred=0", "agents.persona=[]")
    await run(project, "one", *sets, "in_flight=1")
    await run(project, "many", *sets, "in_flight=16")
    assert every_row(project, "one") == every_row(project, "many")
    await run(project, "uniform", *sets[1:])
    assert every_row(project, "uniform") != every_row(project, "one")
