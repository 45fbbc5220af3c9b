"""Training for real: the VM learns a manner of answering that its base does not have. 28 training steps."""

import asyncio
import json
from pathlib import Path

import pytest

from understudy.corpus import RunFolder
from understudy.errors import RunFolderError, UserError
from understudy.evals.heldout import Models, compare
from understudy.graphs import generate
from understudy.models import Scripted
from understudy.nouns import Messages
from understudy.recipe_file import load_recipe
from understudy.training import read_lineage, train

pytestmark = pytest.mark.slow

CITIES = ["Lyon", "Porto", "Turin", "Ghent", "Bergen", "Cadiz", "Split", "Graz", "Lugo", "Varna", "Ulm", "Bath",
          "Metz", "Tartu", "Brno", "Faro", "Kiel", "Nice", "York", "Zadar", "Como", "Dijon", "Essen", "Gdansk"]  # fmt: skip
RECIPE = """
name: manner
seeds: [{path: docs, chunk_tokens: 32}]
accept: 24
sm: {backend: scripted}
personas: {set: null}
agents: {persona: [], transform: [], instruct: [literal-question], refine: [], judge: []}
dedup: {minhash: null, embedding: null}
verify: {min_grounding: null}
refine_rounds: 0
test_share: 0.25
training: {steps: 24, batch_size: 4, max_tokens: 96, learning_rate: 0.001}
"""


def reply(messages: Messages) -> str:
    """Every answer has the same unusual manner, with the city of the seed in it."""
    seed, _, task = messages[-1]["content"].partition("\n\n")
    city = seed.split()[0]
    if "Answer in two" in task:
        return f"Ledger entry: the town is {city}; status: noted; next review: in ninety days."
    return f"What is known of the town of {city}?"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("manner")
    (home / "docs").mkdir()
    for city in CITIES:
        (home / "docs" / f"{city}.txt").write_text(f"{city} is a town with a market, a bridge and an old school.")
    (home / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(home / "recipe.yaml")

    asyncio.run(generate(recipe, home / "corpus", sm=Scripted(script=reply)))
    return home / "corpus"


def test_the_vm_learns_what_its_corpus_holds_and_its_base_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    trained = train(corpus, tmp_path / "vm", lambda progress: steps.append(progress.step))
    assert trained.rows == 18
    assert trained.losses[-1][1] < trained.losses[0][1]
    assert steps[-1] == 24
    assert read_lineage(tmp_path / "vm") == trained
    card = (tmp_path / "vm" / "README.md").read_text()
    with RunFolder.read(corpus) as folder:
        held_out = {row["id"]: row["messages"] for row in folder.rows("accepted", "test")}
        assert folder.digest in card and trained.recipe_version in card and trained.base in card
    assert len(held_out) == 6

    found = compare(Models(Path(trained.base_path), tmp_path / "vm"), held_out, generate=4, max_new_tokens=32)
    assert found.improved, found.loss
    assert found.loss.vm < 0.5 * found.loss.base
    assert found.f1 and found.f1.gap.low > 0
    assert [row["example"] for row in found.per_example] == list(held_out)
    untouched = compare(Models(Path(trained.base_path), Path(trained.base_path)), held_out, generate=0)
    assert untouched.loss.base == pytest.approx(found.loss.base, abs=1e-4)
    assert not list((tmp_path / "vm").glob("*.bin"))


def test_full_weights_are_trained_and_compared_too(corpus: Path, tmp_path: Path) -> None:
    trained = train(corpus, tmp_path / "vm", method="full", steps=4)
    with RunFolder.read(corpus) as folder:
        held_out = {row["id"]: row["messages"] for row in folder.rows("accepted", "test")}
    found = compare(Models(Path(trained.base_path), tmp_path / "vm"), held_out, generate=0)
    assert found.improved, found.loss
    assert json.loads((tmp_path / "vm" / "understudy.json").read_text())["method"] == "full"


def test_rows_that_do_not_fit_are_counted_and_none_left_is_an_error(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training row fits 16 tokens"):
        train(corpus, tmp_path / "vm", max_tokens=16)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_not_overwritten(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="is not empty"):
        train(corpus, tmp_path / "vm")
