"""Pinned examples are sent through the graph again, without a model."""

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.corpus.cases import HOME, pin
from understudy.corpus.reviews import Review
from understudy.errors import UserError
from understudy.graphs import generate
from understudy.graphs.replay import Replayed, replay
from understudy.recipe_file import load_recipe


async def made(project: Path, *sets: str) -> Path:
    await generate(load_recipe(project / "recipe.yaml", sets), project / "out")
    return project / "out"


async def replayed(project: Path, *sets: str) -> dict[str, Replayed]:
    return {one.case.example: one for one in await replay(load_recipe(project / "recipe.yaml", sets))}


def pin_all(out: Path) -> dict[str, str]:
    """Every example that can be, with what became of it."""
    found = {}
    with RunFolder.read(out) as folder:
        for status in ("accepted", "rejected"):
            for row in folder.rows(status):
                if "transform/library-from-code" not in row["path"]:
                    assert pin(folder, row["id"]).name == f"{row['id'][:12]}.json"
                    found[row["id"]] = status
    return found


@pytest.mark.parametrize(
    "sets", [(), ("personas.set=everyday", "personas.inferred=0"), ("candidates=2", "refine_rounds=2")]
)
async def test_what_has_not_changed_comes_out_the_same(project: Path, sets: tuple[str, ...]) -> None:
    out = await made(project, *sets)
    pins = pin_all(out)
    assert set(pins.values()) == {"accepted", "rejected"}
    found = await replayed(project, *sets)
    assert found.keys() == pins.keys()
    assert {one.told for one in found.values() if not one.holds} == set()


async def test_a_rule_that_became_stricter_is_seen(project: Path) -> None:
    pins = pin_all(await made(project))
    found = await replayed(project, "verify.min_words=400")
    lost = [found[id] for id, status in pins.items() if status == "accepted"]
    assert lost and all(not one.holds and one.told.startswith("rejected (rule/") for one in lost)


async def test_what_a_person_said_is_expected(project: Path) -> None:
    out = await made(project)
    with RunFolder.read(out) as folder:
        kept = next(folder.examples())
        pin(folder, kept.id, Review(kept.id, "ann", "reject", 1.0, "it says nothing"))
    (one,) = (await replayed(project)).values()
    assert (one.holds, one.told, one.case.note) == (False, "accepted, expected rejected", "it says nothing")
    (one,) = (await replayed(project, "verify.min_words=400")).values()
    assert one.holds


async def test_a_prompt_that_has_changed_is_named(project: Path) -> None:
    text = "seeds=[{path: docs, chunk_tokens: 60}]"
    cast = 'agents={"instruct": ["literal-question"], "judge": ["relevant"], "persona": [], "refine": []}'
    pin_all(await made(project, text, cast))
    judged = 'agents={"instruct": ["literal-question"], "judge": ["faithful"], "persona": [], "refine": []}'
    told = {one.told for one in (await replayed(project, text, judged)).values() if not one.holds}
    assert told == {"judge/faithful is asked something else now: run the recipe, then pin the example again"}
    other = 'agents={"instruct": ["why-question"], "judge": ["relevant"], "persona": [], "refine": []}'
    told = {one.told for one in (await replayed(project, text, other)).values()}
    assert told == {"the recipe has no agent instruct/literal-question any more"}


async def test_what_cannot_be_pinned_says_why(project: Path) -> None:
    out = await made(project, "dedup.minhash=0.2", "seeds=[{path: docs, chunk_tokens: 60}]")
    with RunFolder.read(out) as folder:
        twin = next(folder.examples("duplicate"))
        with pytest.raises(UserError, match="a duplicate is one beside other examples"):
            pin(folder, twin.id)
    with pytest.raises(UserError, match="no pinned examples"):
        await replayed(project)


@pytest.mark.parametrize("damage", ["nonsense", "{}", "[]", "status", "calls"])
async def test_a_file_that_is_no_case_is_named(project: Path, damage: str) -> None:
    out = await made(project)
    with RunFolder.read(out) as folder:
        path = pin(folder, next(folder.examples()).id)
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    case |= {"status": "lost"} if damage == "status" else {"calls": [{}]}
    path.write_text(json.dumps(case) if damage in case else damage, encoding="utf-8")
    with pytest.raises(UserError, match="no pinned example") as caught:
        await replayed(project)
    assert f"{HOME}/{path.name}" in str(caught.value)
