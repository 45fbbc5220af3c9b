from pathlib import Path
from typing import Any

import pytest

from understudy import recipe as recipe_module
from understudy.errors import RecipeError
from understudy.recipe import Recipe, schema
from understudy.recipe_file import load_recipe

GOOD = "name: gears\nseeds:\n  - path: docs\naccept: 10\nsm:\n  backend: openai\n  base_url: http://a\n  model: m\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(GOOD)
    return tmp_path / "recipe.yaml"


def test_an_override_wins_over_the_file(path: Path):
    recipe = load_recipe(path, ("accept=25", "dedup.minhash=null", "agents.judge=[faithful]"))
    assert (recipe.accept, recipe.dedup.minhash, recipe.agents.judge) == (25, None, ("faithful",))


def test_the_last_override_of_a_key_wins(path: Path):
    assert load_recipe(path, ("accept=25", "accept=30")).accept == 30


def test_a_section_that_the_file_leaves_out_can_be_overridden(path: Path):
    assert load_recipe(path, ("budget.tokens=500",)).budget.tokens == 500


def test_the_embedded_sm_of_a_recipe_without_an_sm_section_can_be_overridden(path: Path):
    path.write_text(GOOD[: GOOD.index("sm:")])
    assert load_recipe(path, ("sm.batch_size=8",)).sm.batch_size == 8


@pytest.mark.parametrize(
    "override",
    ["accept", "accept.more=1", "seeds.0.path=x", "accept=[", "accept=2024-99-99", "=5"],
    ids=["no equals sign", "into a number", "into a list", "not YAML", "impossible date", "no key"],
)
def test_a_malformed_override_is_a_recipe_error_that_quotes_it(path: Path, override: str):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, (override,))
    assert override in str(caught.value)


@pytest.mark.parametrize("override", ["accept=0", "acept=5", "dedup.minhash=2"], ids=["value", "key", "nested"])
def test_a_wrong_override_blames_the_override_and_not_a_line_of_the_file(path: Path, override: str):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, (override,))
    assert "--set" in str(caught.value.where)
    assert override.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "seeds=[{path: other}]",
        "refine_rounds=0",
        "personas.inferred=0.1",
        "personas.granularity=broad",
        "personas.draw=spread",
        "personas.shape=few-shot",
        "agents.judge=[faithful]",
        "dedup.minhash=0.8",
        "dedup.embedder=hashing",
        "verify.min_words=5",
        "test_share=0.5",
        "sm.model=other",
        "sm.structured=false",
    ],
)
def test_what_changes_the_corpus_changes_the_plan(path: Path, override: str):
    assert load_recipe(path, (override,)).plan_version != load_recipe(path).plan_version


@pytest.mark.parametrize(
    "override",
    [
        "accept=99",
        "name=cogs",
        "license=MIT",
        "draws_per_seed=9",
        "in_flight=2",
        "budget.tokens=500",
        "training.steps=9",
        "sm.base_url=http://b",
        "sm.price_in=1.5",
        "sm.price_out=2",
        "sm.max_concurrency=2",
        "sm.timeout_s=5",
        "sm.retries=0",
        "sm.api_key_env=KEY",
    ],
)
def test_what_does_not_change_the_corpus_leaves_the_plan_alone(path: Path, override: str):
    assert load_recipe(path, (override,)).plan_version == load_recipe(path).plan_version


def test_a_key_that_came_later_changes_no_plan_at_its_default(path: Path, monkeypatch: pytest.MonkeyPatch):
    body: dict[str, Any] = {}
    monkeypatch.setattr(recipe_module, "address", lambda said: body.update(said) or "hash")
    assert load_recipe(path, ("personas.draw=uniform", "personas.shape=zero-shot")).plan_version == "hash"
    assert set(body["personas"]) == {"set", "inferred"}


def test_a_recipe_that_moves_keeps_its_plan(path: Path, tmp_path: Path):
    moved = tmp_path / "elsewhere" / "r.yaml"
    moved.parent.mkdir()
    moved.write_text(GOOD)
    assert load_recipe(moved).plan_version == load_recipe(path).plan_version


def test_the_schema_lists_every_key_a_user_may_write():
    assert set(schema()["properties"]) == set(Recipe.model_fields) - {"folder"}
    assert schema()["required"] == ["name", "seeds", "accept"]
