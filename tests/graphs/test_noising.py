"""Noise on the real graph: what is reworded, what is refused and under which name, and what is left alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy import recipe as recipe_module
from understudy.agents import catalog_of
from understudy.corpus import RunFolder
from understudy.corpus.cases import pin
from understudy.corpus.trainer_rows import preferences
from understudy.errors import PromptError, RecipeError
from understudy.evals.invariants import numbers_in
from understudy.graphs import Outcome, generate
from understudy.graphs.replay import replay
from understudy.models import Scripted
from understudy.nouns import Example
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

YES, NO = '{"passes": true, "reason": "so"}', '{"passes": false, "reason": "it is negative now"}'
PLACES = ["Alder", "Birch", "Cedar", "Dogwood", "Elder", "Furze", "Gorse", "Hazel", "Ivy", "Juniper"]
FAULTS = {"Alder": "numbers", "Birch": "names", "Cedar": "unchanged", "Dogwood": "label"}


def text(place: str) -> str:
    return (f"In the town of Low {place} the ferry takes 12 cars across the river before the tide turns, and everybody "
            "who misses it writes a happy or an angry letter to the harbour office.")  # fmt: skip


def question(place: str) -> str:
    return f"Who writes a happy letter to the harbour office in Low {place} when the ferry takes 12 cars?"


def noised(place: str) -> str:
    """What the scripted noiser says: four faults are planted, six are good."""
    if place == "Alder":
        return f"Hey, who writes a happy letter to the harbour office in Low {place} when that ferry takes 13 cars?"
    if place == "Birch":
        return "Hey, who writes a happy letter to the harbour office there when that ferry takes 12 cars?"
    if place == "Cedar":
        return question(place)
    if place == "Dogwood":
        return f"Hey, who writes an angry letter to the harbour office in Low {place} when that ferry takes 12 cars?"
    return f"Hey, who writes a happy letter to that harbour office in Low {place} when the ferry takes 12 cars, eh?"


def script(noiser: Callable[[str], str] = noised) -> Callable[[Any], str]:
    def reply(messages: Any) -> str:
        prompt = messages[1]["content"]
        place = next(one for one in PLACES if f"Low {one}" in prompt)
        task = prompt.rpartition("harbour office.")[2]
        if "Second wording" in task:
            return NO if "angry" in task.partition("Second wording")[2] else YES
        if "new wording" in task:
            return noiser(place)
        return question(place) if "question" in task else "Everybody whom it takes across writes one."

    return reply


def recipe(folder: Path, places: list[str] = PLACES, **more: Any) -> Recipe:
    (folder / "docs").mkdir(exist_ok=True)
    for number, place in enumerate(places):
        (folder / "docs" / f"{number:02}.md").write_text(text(place) + "\n")
    agents = {"persona": (), "transform": (), "instruct": ("literal-question",), "refine": (), "judge": ()}
    noise = {"share": 1, "weights": {"style": 1}, "similarity": None} | more.pop("noise", {})
    return Recipe.model_validate(
        {
            "name": "noisy", "seeds": [{"path": "docs"}], "accept": len(places), "draws_per_seed": 1,
            "sm": {"backend": "scripted"}, "personas": {"set": None, "inferred": 0}, "agents": agents,
            "refine_rounds": 0, "dedup": {"embedding": None, "minhash": None}, "test_share": 0.0, "noise": noise,
            "verify": {"min_grounding": None},
        } | more
    ).at(folder)  # fmt: skip


async def made(recipe: Recipe, out: str = "out", noiser: Callable[[str], str] = noised) -> dict[str, Example]:
    """The accepted examples of a run by their places."""
    await generate(recipe, recipe.folder / out, sm=Scripted(script=script(noiser)))
    with RunFolder.read(recipe.folder / out) as folder:
        found = list(folder.examples("accepted"))
    return {next(one for one in PLACES if f"Low {one}" in str(example.payload) + str(example.versions)): example
            for example in found}  # fmt: skip


def asked(example: Example) -> str:
    return str(example.payload["messages"][0]["content"]).rpartition("\n\n")[2]


def outcomes(example: Example) -> list[str]:
    return [one.outcome for one in example.versions if one.by.startswith("noise/")]


async def test_exactly_the_four_planted_faults_are_refused_each_under_its_name(tmp_path: Path) -> None:
    found = await made(recipe(tmp_path, noise={"judge": True, "similarity": [0.5, 0.999]}, dedup={
        "embedding": None, "minhash": None, "embedder": "hashing"}))  # fmt: skip
    assert found.keys() == set(PLACES)
    refused = {place: outcomes(example)[0].partition(":")[0] for place, example in found.items()
               if "noise/style" not in example.path}  # fmt: skip
    assert refused == {place: f"noise/{name}" for place, name in FAULTS.items()}
    for place, example in found.items():
        if place in FAULTS:
            assert asked(example) == question(place)
            assert len(outcomes(example)) == 3 and "kept" not in outcomes(example)
        else:
            assert asked(example) == noised(place)
            assert outcomes(example) == ["kept"]
            assert {"noise/meaning", "noise/label"} <= example.scores.keys()
    said = {place: outcomes(found[place])[0] for place in FAULTS}
    assert said["Alder"] == "noise/numbers: number 12 lost"
    assert said["Birch"] == "noise/names: name Low Birch lost"
    assert "negative now" in said["Dogwood"]


async def test_a_noiser_is_told_what_was_wrong_and_its_second_try_is_taken(tmp_path: Path) -> None:
    heard: list[str] = []

    def reply(messages: Any) -> str:
        prompt = messages[1]["content"]
        if "new wording" in prompt and "number 12 lost" in prompt:
            heard.append(prompt)
            return "Hey, who writes a happy letter in Low Ivy when the ferry takes 12 cars?"
        return script(lambda place: "Hey, who is happy in Low Ivy when it takes 13 cars?")(messages)

    await generate(recipe(tmp_path, ["Ivy"]), tmp_path / "out", sm=Scripted(script=reply))
    with RunFolder.read(tmp_path / "out") as folder:
        (example,) = folder.examples("accepted")
    assert heard
    assert [one.partition(":")[0] for one in outcomes(example)] == ["noise/numbers", "kept"]
    assert len(example.calls) == 4


async def test_a_wording_that_means_something_else_is_refused_by_its_likeness(tmp_path: Path) -> None:
    far = "Tell me in Low Ivy of 12 purple elephants dancing among quiet volcanoes, please?"
    hashing = {"embedding": None, "minhash": None, "embedder": "hashing"}
    found = await made(
        recipe(tmp_path, ["Ivy"], noise={"similarity": [0.75, 0.98]}, dedup=hashing), noiser=lambda place: far
    )
    assert [one.partition(":")[0] for one in outcomes(found["Ivy"])] == ["noise/meaning"] * 3
    assert asked(found["Ivy"]) == question("Ivy")


async def test_typos_need_no_sm_and_never_touch_what_is_protected(tmp_path: Path) -> None:
    found = await made(recipe(tmp_path, noise={"weights": {"typos": 1}, "strength": 1}))
    again = await made(recipe(tmp_path, noise={"weights": {"typos": 1}, "strength": 1}), "again")
    for place, example in found.items():
        assert example.path[-1] == "noise/typos" and len(example.calls) == 2
        assert asked(example) != question(place)
        assert f"Low {place}" in asked(example) and numbers_in(asked(example)) == {"12"}
        assert asked(again[place]) == asked(example)


async def test_where_the_sm_s_typos_break_something_the_rule_makes_them(tmp_path: Path) -> None:
    how = {"weights": {"typos": 1}, "typos": "sm", "retries": 1}
    found = await made(recipe(tmp_path, ["Ivy"], noise=how), noiser=lambda place: "no good at all")
    assert [one.partition(":")[0] for one in outcomes(found["Ivy"])] == ["noise/numbers", "noise/numbers", "kept"]
    assert asked(found["Ivy"]) != question("Ivy")


async def test_a_share_of_the_drafts_is_noised_and_the_others_stay_clean(tmp_path: Path) -> None:
    found = await made(recipe(tmp_path, noise={"share": 0.5, "weights": {"typos": 1}}))
    count = sum("noise/typos" in example.path for example in found.values())
    assert 0 < count < len(PLACES)
    assert all(asked(found[place]) == question(place) for place in PLACES if "noise/typos" not in found[place].path)


async def test_without_the_section_no_noiser_speaks_and_the_rows_say_nothing_of_it(tmp_path: Path) -> None:
    plain = recipe(tmp_path, ["Ivy"], noise={}).model_copy(update={"noise": None})
    found = await made(plain)
    assert outcomes(found["Ivy"]) == [] and asked(found["Ivy"]) == question("Ivy")


async def test_the_context_noiser_is_shown_the_neighbours_in_the_file(tmp_path: Path) -> None:
    shown: list[str] = []

    def reply(messages: Any) -> str:
        prompt = messages[1]["content"]
        if "new wording" in prompt:
            shown.append(prompt.partition("What stands around")[2].partition("Who writes")[0])
            return "Hey, who writes a happy letter in Low Ivy when the ferry takes 12 cars?"
        return (
            question("Ivy")
            if "question" in prompt.rpartition("office.")[2]
            else "Everybody whom it takes across writes one."
        )

    how = recipe(tmp_path, [], noise={"weights": {"context": 1}, "retries": 0, "window": {"neighbours": 1}}, accept=3)
    parts = "\n\n".join(f"# Part {place}\n\n{text(place)}" for place in PLACES[:3])
    (tmp_path / "docs" / "all.md").write_text(parts)
    how = how.model_copy(update={"seeds": (how.seeds[0].model_copy(update={"chunk_tokens": 48}),)})
    await generate(how, tmp_path / "out", sm=Scripted(script=reply))
    named = [{place for place in PLACES[:3] if f"Low {place}" in one} for one in shown]
    assert sorted(map(sorted, named)) == [["Alder", "Cedar"], ["Birch"], ["Birch"]]


async def test_a_run_with_noise_that_was_stopped_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    def rows(out: str) -> list[str]:
        with RunFolder.read(tmp_path / out) as folder:
            return sorted(json.dumps(row, sort_keys=True) for row in folder.rows("accepted"))

    noise = {"weights": {"typos": 1, "style": 2}}
    await made(recipe(tmp_path, noise=noise), "whole")
    await made(recipe(tmp_path, noise=noise, accept=4), "parts")
    await made(recipe(tmp_path, noise=noise), "parts")
    assert rows("parts") == rows("whole")


async def test_preference_pairs_survive_noise(tmp_path: Path) -> None:
    answers = iter(["Everybody whom it takes across writes one.", "The captain of another ship writes one."] * 9)

    def reply(messages: Any) -> str:
        prompt = messages[1]["content"]
        if "Answer A" in prompt:
            return "A" if "Answer A: Every" in prompt else "B"
        said = script()(messages)
        return next(answers) if said == "Everybody whom it takes across writes one." else said

    agents = {"persona": (), "transform": (), "instruct": ("literal-question",), "refine": (),
              "judge": ("helps-more",)}  # fmt: skip
    how = recipe(tmp_path, ["Ivy"], candidates=2, agents=agents)
    await generate(how, tmp_path / "out", sm=Scripted(script=reply))
    with RunFolder.read(tmp_path / "out") as folder:
        (example,) = folder.examples("accepted")
    (pair,) = preferences(example)
    assert "noise/style" in example.path
    assert pair["rejected"][0]["content"] == "The captain of another ship writes one." and "Hey" in str(pair["prompt"])


@pytest.mark.parametrize(
    ("noise", "where"),
    [
        ("share: 1.5", "noise.share"),
        ("similarity: [0.9, 0.5]", "noise.similarity"),
        ("weights: {typos: 0}", "noise.weights.typos"),
        ("strenth: 0.5", "noise.strenth"),
    ],
)
def test_a_senseless_section_is_refused_where_it_stands(tmp_path: Path, noise: str, where: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nseeds: [{{path: docs}}]\naccept: 1\nnoise:\n  {noise}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.where == f"{path}:5: {where}"


@pytest.mark.parametrize("judge", [False, True])
def test_without_the_section_plan_and_cast_are_what_they_always_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judge: bool
) -> None:
    noisy = recipe(tmp_path, ["Ivy"], noise={"judge": judge})
    plain = noisy.model_copy(update={"noise": None})
    bodies: list[dict[str, Any]] = []
    monkeypatch.setattr(recipe_module, "address", lambda said: bodies.append(said) or "hash")
    assert plain.plan_version == noisy.plan_version == "hash"
    assert not {"noise", "allocate", "monitor"} & bodies[0].keys() and "noise" not in bodies[0]["agents"]
    assert "noise" in bodies[1]
    families = [{agent.prompt.family for agent in catalog_of(one)} for one in (plain, noisy)]
    assert "noise" not in families[0] and "noise" in families[1]
    asked = [catalog_of(one).of("judge", "text", judged="same-answer") for one in (plain, noisy)]
    assert (len(asked[0]), len(asked[1])) == (0, int(judge))


async def test_a_noisy_example_that_is_pinned_comes_out_the_same(project: Path) -> None:
    sets = ("noise={share: 1, weights: {typos: 1}}", "agents={judge: []}")
    await generate(load_recipe(project / "recipe.yaml", sets), project / "out")
    with RunFolder.read(project / "out") as folder:
        noisy = [one.id for one in folder.examples("accepted") if "noise/typos" in one.path]
        for id in noisy:
            pin(folder, id)
    found = await replay(load_recipe(project / "recipe.yaml", sets))
    assert noisy and len(found) == len(noisy) and all(one.holds for one in found)


async def test_a_weight_for_a_noiser_who_is_not_there_names_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(PromptError) as caught:
        await made(recipe(tmp_path, ["Ivy"], noise={"weights": {"typo": 1}}))
    assert caught.value.where == "noise.weights.typo" and caught.value.remedy == "did you mean `typos`?"


async def test_a_user_s_file_is_one_more_noiser(tmp_path: Path) -> None:
    own = tmp_path / "own" / "noise"
    own.mkdir(parents=True)
    (own / "shout.md").write_text(
        "---\nname: shout\nfamily: noise\nsummary: Shouts.\nreply: Reworded\n---\n"
        "{{ instruction }}\n\nShout this, {{ strength }}. Write only the new wording."
    )
    agents = {"persona": (), "transform": (), "instruct": ("literal-question",), "refine": (), "judge": (),
              "folder": "own"}  # fmt: skip
    how = recipe(tmp_path, ["Ivy"], agents=agents, noise={"weights": {"shout": 1}})
    found = await made(how, noiser=lambda place: f"{question(place).upper()}!!")
    assert found["Ivy"].path[-1] == "noise/shout" and "HARBOUR" in asked(found["Ivy"])


@pytest.mark.slow
def test_the_embedded_sm_s_noise_keeps_numbers_and_the_books_close(project: Path) -> None:
    from understudy.graphs import run

    sets = (
        "sm={backend: embedded}", "accept=4", "budget.tokens=14000", "in_flight=8", "dedup.embedder=embedded",
        "agents={transform: [], instruct: [numerical-reasoning, code-usage, table-lookup], refine: [], judge: []}",
        "personas.inferred=0", "noise={share: 1, weights: {style: 2, persona: 2, typos: 1}, retries: 1}",
    )  # fmt: skip
    outcome: Outcome = run(load_recipe(project / "recipe.yaml", sets), project / "out")
    assert outcome.books.tokens <= 14000
    with RunFolder.read(project / "out") as folder:
        examples = [
            one for status in ("accepted", "rejected", "duplicate", "failed") for one in folder.examples(status)
        ]
        assert len(examples) == sum(outcome.books.drafts.values()) > 0
        spoken = 0
        for example in examples:
            versions = example.versions
            for place, version in enumerate(versions):
                if version.by.startswith("noise/") and version.outcome == "kept":
                    clean = next(one for one in reversed(versions[:place]) if not one.by.startswith("noise/"))
                    assert numbers_in(version.instruction) == numbers_in(clean.instruction)
                spoken += version.by.startswith("noise/")
        assert spoken
