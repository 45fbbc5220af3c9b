"""Every example recipe runs, at toy size and without a model."""

from pathlib import Path

import pytest

from understudy.graphs import run
from understudy.recipe_file import load_recipe

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_recipe_runs(recipe: Path, tmp_path: Path) -> None:
    shipped = load_recipe(recipe)
    models = ("sm", *(f"sms.{name}" for name in shipped.sms))
    unasked = ("answers.votes=0",) if shipped.answers else ()  # a scripted SM finds no answer
    scripted = (f"{place}={{backend: scripted}}" for place in models)
    toy = load_recipe(recipe, (*scripted, *unasked, "dedup.embedder=hashing", "accept=2", "in_flight=4"))
    assert run(toy, tmp_path / "out").ended == "goal"
