"""Sweeps: every combination once, scored on the same rows, and a law for what more data may bring."""

import asyncio
import re
from pathlib import Path

import pytest

from understudy.errors import RecipeError, RunFolderError
from understudy.graphs import generate
from understudy.models import Scripted
from understudy.nouns import Messages
from understudy.recipe_file import load_recipe
from understudy.training.growth import growth
from understudy.training.sweep import combinations, sweep
from understudy.training.sweep_page import write_page

RECIPE = """
name: towns
seeds: [{path: docs, chunk_tokens: 32}]
accept: 24
sm: {backend: scripted}
personas: {set: null}
agents: {persona: [], transform: [], instruct: [literal-question], refine: [], judge: []}
dedup: {minhash: null, embedding: null}
verify: {min_grounding: null}
refine_rounds: 0
test_share: 0.25
training: {steps: 4, batch_size: 2, learning_rate: 0.01}
"""


@pytest.fixture(scope="session")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of questions about towns."""
    home = tmp_path_factory.mktemp("towns")
    (home / "docs").mkdir()
    for place in range(24):
        (home / "docs" / f"town-{place}.txt").write_text(f"Town{place} has a market, a bridge and an old school.")
    (home / "recipe.yaml").write_text(RECIPE)

    def reply(messages: Messages) -> str:
        seed, _, task = messages[-1]["content"].partition("\n\n")
        town = seed.split()[0]
        return f"{town} has a market." if "Answer in two" in task else f"What does {town} have, and since when?"

    asyncio.run(generate(load_recipe(home / "recipe.yaml"), home / "corpus", sm=Scripted(script=reply)))
    return home / "corpus"


def test_a_sweep_trains_each_combination_once_and_draws_a_page(towns: Path, tiny: Path, tmp_path: Path) -> None:
    said: list[str] = []
    over = {"share": (0.25, 0.5, 0.75, 1.0), "method": ("lora",)}
    found = sweep(towns, tmp_path / "sweep", over, {"base": str(tiny)}, said.append)
    assert [arm.name for arm in found.arms] == [f"share={share}-method=lora" for share in over["share"]]
    assert len(said) == 4 and len({len(arm.held_out) for arm in found.arms} | {len(found.base)}) == 1
    assert [arm.rows for arm in found.arms] == sorted(arm.rows for arm in found.arms)
    assert len({arm.steps for arm in found.arms}) == 1
    (tmp_path / "sweep" / "share=0.5-method=lora.json").unlink()  # stopped before it was scored
    again = sweep(towns, tmp_path / "sweep", over, {"base": str(tiny)}, said.append)
    assert again == found and len(said) == 5
    write_page(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"<script|<link|\bsrc=", page)
    assert page.count("<tr") == 5 and "more data" in page
    with pytest.raises(RunFolderError, match="holds another sweep"):
        sweep(towns, tmp_path / "sweep", {"share": (0.5,)}, {"base": str(tiny)})


def test_a_combination_that_makes_no_sense_is_said_before_anything_is_trained(towns: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="vLLM serves no DoRA"):
        sweep(towns, tmp_path / "sweep", {"method": ("lora", "dora")}, {})
    assert not (tmp_path / "sweep").exists()


def test_names_of_arms_are_names_of_folders() -> None:
    (first, changes), *_ = combinations({"replay": ({"path": "../../x", "share": 0.1},), "order": ("apart",)})
    assert "/" not in first and changes["order"] == "apart"
    long = combinations({"data": (("a" * 200,),)})[0][0]
    assert long.startswith("arm-") and len(long) < 20


@pytest.mark.parametrize(
    ("floor", "verdict"),
    [(0.2, "more data pays"), (1.99, "more data does not pay")],
)
def test_a_law_that_is_there_is_found_again(floor: float, verdict: str) -> None:
    import numpy as np

    rows = [50, 100, 200, 400]
    draw = np.random.default_rng(0)
    noise = draw.normal(0, 0.05, 300)
    losses = [list(floor + (2 - floor) * 8 * n**-0.55 + noise) for n in rows]
    law = growth(rows, losses)
    assert law.verdict == verdict
    truth = floor + (2 - floor) * 8 * 800**-0.55
    assert law.doubled == pytest.approx(truth + noise.mean(), abs=0.03)
    assert law.low <= law.gain <= law.high


def test_what_lies_within_noise_is_not_called_either_way() -> None:
    import numpy as np

    draw = np.random.default_rng(1)
    losses = [list(1 + draw.normal(0, 1.5, 12)) for _ in range(4)]
    law = growth([10, 20, 40, 80], losses)
    assert law.low < law.high and law.verdict in {"it cannot be told whether more data pays", "more data does not pay"}
