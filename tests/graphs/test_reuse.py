"""A run that takes over the calls of an earlier one: the same corpus as without, for fewer calls."""

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.corpus.repair import check
from understudy.errors import RunFolderError
from understudy.graphs import Outcome, generate
from understudy.graphs.forecast import Forecast
from understudy.graphs.rehearsal import rehearse
from understudy.models import Scripted
from understudy.models.sm import Reply, Request
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

CAST = 'agents={"transform": [], "refine": [], "judge": ["relevant"]}'
JUDGED = 'agents={"transform": [], "refine": [], "judge": ["relevant", "clear"]}'
MORE = """# Locks

A canal lock lifts boats between two levels of water. The lower gate is closed, a paddle is opened, and the chamber
fills until both sides are level; no pump is needed.
"""


class Noting(Scripted):
    """Remembers the sampler seeds of its requests, which stand for their keys."""

    noted: Any

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self.noted.append(request.seed)
        return await super().complete(request)


def recipe(project: Path, *sets: str) -> Recipe:
    return load_recipe(project / "recipe.yaml", ("in_flight=1", *(sets or (CAST,))))


async def run(project: Path, out: str, *sets: str, reuse: str | None = None) -> tuple[Outcome, set[int]]:
    noted: list[int] = []
    earlier = [project / reuse] if reuse else []
    outcome = await generate(recipe(project, *sets), project / out, sm=Noting(noted=noted), reuse=earlier)
    assert len(noted) == len(set(noted)) == outcome.calls_made
    return outcome, set(noted)


def rows(path: Path) -> list[str]:
    """Every row but for what was paid."""
    with RunFolder.read(path) as folder:
        found = [row for kind in ("accepted", "rejected", "duplicate", "failed") for row in folder.rows(kind)]
    return [json.dumps({**row, "sm_tokens": 0}, sort_keys=True) for row in found]


def add_seeds(project: Path) -> None:
    (project / "docs" / "locks.md").write_text(MORE, encoding="utf-8")


async def test_with_more_seeds_only_what_is_new_is_asked(project: Path):
    _, first = await run(project, "first")
    add_seeds(project)
    fresh, all_calls = await run(project, "fresh")
    again, asked = await run(project, "again", reuse="first")
    assert rows(project / "again") == rows(project / "fresh")
    assert asked == all_calls - first
    assert 0 < len(asked) < len(all_calls)
    with RunFolder.read(project / "again") as folder:
        books = folder.accounting()
        assert sum(cost.calls for cost in books.agents.values()) == len(all_calls)
        assert sum(cost.reused for cost in books.agents.values()) == len(all_calls & first)
        paid = [call for key in _keys(folder) if (call := folder.call(key)) and not call.reused]
        assert books.tokens == sum(call.usage["prompt"] + call.usage["completion"] for call in paid)
    assert books.tokens < fresh.books.tokens
    assert check(project / "again") == []
    assert again.ended == "goal"


def _keys(folder: RunFolder) -> set[str]:
    return {
        key
        for kind in ("accepted", "rejected", "duplicate", "failed")
        for row in folder.rows(kind)
        for key in row["calls"]
    }


async def test_a_judge_more_at_the_end_costs_its_own_calls(project: Path):
    _, first = await run(project, "first")
    _, all_calls = await run(project, "fresh", JUDGED)
    _, asked = await run(project, "again", JUDGED, reuse="first")
    assert asked == all_calls - first
    assert rows(project / "again") == rows(project / "fresh")
    with RunFolder.read(project / "again") as folder:
        books = folder.accounting()
        agents = {name: cost.calls - cost.reused for name, cost in books.agents.items()}
    # The judge says no to some, so that a draft or two more were wanted than the first run made.
    assert agents["judge/clear"] >= 8
    assert sum(agents.values()) - agents["judge/clear"] < 12


async def test_a_changed_parameter_repeats_what_depends_on_it(project: Path):
    _, first = await run(project, "first")
    changed = (CAST, 'voices={"answer": {"temperature": 0.1}}')
    _, all_calls = await run(project, "fresh", *changed)
    _, asked = await run(project, "again", *changed, reuse="first")
    assert asked == all_calls - first
    with RunFolder.read(project / "again") as folder:
        agents = folder.accounting().agents
    assert agents["answer/answer"].reused == 0
    assert all(cost.reused == cost.calls for name, cost in agents.items() if name.startswith("persona/"))
    assert sum(cost.reused for name, cost in agents.items() if name.startswith("instruct/")) >= 8


async def test_a_third_run_takes_over_what_the_second_took_over(project: Path):
    await run(project, "first")
    await run(project, "second", JUDGED, reuse="first")
    _, asked = await run(project, "third", JUDGED, 'name="other"', reuse="second")
    assert asked == set()
    with RunFolder.read(project / "third") as folder:
        assert folder.accounting().tokens == 0
        assert folder.accounting().cost == 0


async def test_what_is_taken_over_does_not_count_against_the_budget(project: Path):
    whole, _ = await run(project, "first")
    again, _ = await run(project, "again", CAST, "budget.tokens=3000", reuse="first")
    assert whole.books.tokens > 3000
    assert again.ended == "goal"


async def test_a_run_that_was_stopped_is_resumed_without_the_earlier_corpus(project: Path):
    _, first = await run(project, "first")
    await run(project, "again", CAST, "accept=4", reuse="first")
    for path in (project / "first").rglob("*.parquet"):
        path.unlink()
    _, asked = await run(project, "again")
    assert asked <= first
    _, all_calls = await run(project, "fresh")
    assert len(asked) < len(all_calls)
    assert rows(project / "again") == rows(project / "fresh")


@pytest.mark.parametrize(
    ("change", "sets", "exact"),
    [("nothing", (CAST,), True), ("a judge", (JUDGED,), False), ("an answer", (CAST, "verify.min_words=1"), True),
     ("seeds", (CAST,), False)],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_a_rehearsal_says_how_many_calls_a_run_will_make(
    project: Path, change: str, sets: tuple[str, ...], exact: bool
):
    await run(project, "first")
    if change == "seeds":
        add_seeds(project)
    said = rehearse_in_thread(recipe(project, *sets), [project / "first"])
    rehearsal = await said
    outcome, asked = await run(project, "again", *sets, reuse="first")
    drafts = sum(outcome.books.drafts.values())
    if exact:
        assert rehearsal.new_calls == len(asked)
        assert rehearsal.tried == drafts
    else:
        assert len(asked) / 2 <= rehearsal.new_calls <= 2 * len(asked)
    assert rehearsal.whole + rehearsal.missing.total() == rehearsal.tried
    if exact:
        assert rehearsal.at_hand == sum(cost.reused for cost in outcome.books.agents.values())


def rehearse_in_thread(recipe: Recipe, reuse: list[Path]) -> Any:
    import asyncio

    return asyncio.to_thread(rehearse, recipe, reuse)


async def test_a_long_run_is_reckoned_from_its_first_drafts(project: Path, monkeypatch: pytest.MonkeyPatch):
    await run(project, "first")
    monkeypatch.setattr("understudy.graphs.rehearsal.MOST", 5)
    said = await rehearse_in_thread(recipe(project, JUDGED), [project / "first"])
    assert said.tried == 5 < said.needed
    assert said.scale == said.needed / 5


async def test_an_sm_that_is_not_the_same_has_no_calls_at_hand(project: Path):
    await run(project, "first")
    other = 'sm={"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "other"}'
    said = await rehearse_in_thread(recipe(project, CAST, other), [project / "first"])
    assert (said.at_hand, said.whole) == (0, 0)
    assert said.new_calls > said.tried


@pytest.mark.parametrize("act", ["run", "rehearse"])
async def test_what_is_no_corpus_is_refused_before_anything_is_made(project: Path, act: str):
    reuse = [project / "nowhere"]
    with pytest.raises(RunFolderError, match="no such corpus folder"):
        if act == "run":
            await generate(recipe(project), project / "out", reuse=reuse)
        else:
            await rehearse_in_thread(recipe(project), reuse)
    assert not (project / "out").exists()


async def test_a_corpus_that_does_not_say_its_engines_is_named(project: Path):
    await run(project, "first")
    folder = RunFolder.read(project / "first")
    folder.ledger.set_meta(engines="{}")
    folder.close()
    with pytest.raises(RunFolderError, match="which SMs made it"):
        await rehearse_in_thread(recipe(project), [project / "first"])


async def test_a_trace_says_that_a_call_was_taken_over(project: Path):
    await run(project, "first")
    await run(project, "again", CAST, 'name="other"', reuse="first")
    with RunFolder.read(project / "again") as folder:
        (key, *_) = next(iter(folder.examples())).calls
        call = folder.call(key)
        assert call is not None and call.reused and call.usage["prompt"] > 0
    with RunFolder.read(project / "first") as folder:
        before = folder.call(key)
        assert before is not None and before.at == call.at  # when it was really asked


@pytest.mark.parametrize("extended", ["seeds", "draws"])
async def test_the_forecast_rests_on_what_is_to_come(project: Path, extended: str):
    lines = [json.dumps({"text": f"{MORE} It was built in {1700 + n} for {n} boats."}) for n in range(260)]
    first = lines[:60] if extended == "seeds" else lines
    (project / "seeds.jsonl").write_text("\n".join(first), encoding="utf-8")
    sets = ('seeds=[{"path": "seeds.jsonl", "text_field": "text", "chunk_tokens": 400}]', CAST, "draws_per_seed=3",
            "dedup.embedding=null", "dedup.minhash=null", "agents.instruct=[why-question, literal-question]", "seed=4")  # fmt: skip
    await run(project, "first", *sets, f"accept={50 if extended == 'seeds' else 200}")
    (project / "seeds.jsonl").write_text("\n".join(lines), encoding="utf-8")
    asked: list[Forecast] = []

    def ask(said: Forecast) -> bool:
        asked.append(said)
        return True

    more = recipe(project, *sets, f"accept={120 if extended == 'seeds' else 300}")
    outcome = await generate(more, project / "again", sm=Noting(noted=[]), reuse=[project / "first"], ask=ask)
    (said,) = asked
    assert said.pilot == 48
    assert said.tokens.low > 0
    assert said.tokens.holds(outcome.books.tokens)
    assert said.drafts.holds(sum(outcome.books.drafts.values()))
