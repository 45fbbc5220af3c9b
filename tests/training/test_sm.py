"""An SM is trained once and frozen; use cases take it as it is, and none of them may be one that it has seen."""

import hashlib
import json
import shutil
import stat
from pathlib import Path
from random import Random
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.errors import ModelError, RecipeError, RunFolderError, UserError
from understudy.graphs import run
from understudy.models import open_sm
from understudy.models.frozen import FROZEN, read_frozen
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe
from understudy.training import train
from understudy.training.ancestry import learned_rows
from understudy.training.lineage import LINEAGE, read_lineage
from understudy.training.sm import TrainedSM, train_sm

ASK = """---
name: ask
family: instruct
skill: data-to-text
summary: Asks for words.
kinds: [table]
reply: Instruction
pattern: 'Write of [a-z]{3,6} and [a-z]{3,6}\\.'
sampling: {temperature: 1.0, top_p: 1.0, max_tokens: 40, repetition_penalty: 1.0}
grounded: false
---
Ask for words.
"""
SAY = """---
name: say
family: answer
summary: Says words.
kinds: [table]
reply: Answer
pattern: '[A-Z][a-z]{2,6} [a-z]{2,6} [a-z]{2,6}\\.'
sampling: {temperature: 1.0, top_p: 1.0, max_tokens: 40, repetition_penalty: 1.0}
---
{{ instruction }}
"""


def table(path: Path, word: str, rows: int = 24) -> Path:
    chance = Random(word)
    # Few values make a category: free text is in no line.
    lines = [f"{word}{number % 6},{chance.randint(100, 999)}" for number in range(rows)]
    path.write_text("\n".join([f"{word},size", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def wide(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with room for prompts in bytes."""
    path = tmp_path_factory.mktemp("wide") / "base"
    shutil.copytree(tiny, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return path


@pytest.fixture(scope="module")
def generic(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("generic")
    return [table(folder / f"{word}.csv", word) for word in ("trees", "rivers", "ships")]


@pytest.fixture(scope="module")
def made(wide: Path, generic: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedSM]:
    """The SM that the tests use; `damaged` has a copy to spoil."""
    out = tmp_path_factory.mktemp("sm") / "sm"
    trained = train_sm(
        generic, out, "continuer", str(wide), shown=2, new=2, draws=12, held_out=("ships",), steps=30,
        learning_rate=0.02, batch_size=4,
    )  # fmt: skip
    return out, trained


def use_case(folder: Path, sm: Path, base: Path, seeds: Path) -> Recipe:
    """A recipe whose agents have such tight forms that even a model of bytes keeps to them."""
    for family, name, text in (("instruct", "ask", ASK), ("answer", "say", SAY)):
        (folder / "agents" / family).mkdir(parents=True, exist_ok=True)
        (folder / "agents" / family / f"{name}.md").write_text(text)
    body: dict[str, Any] = {
        "name": seeds.stem, "seeds": [{"path": str(seeds), "rows_per_seed": 4}], "accept": 4, "draws_per_seed": 4,
        "sm": {"backend": "transformers", "path": str(sm)}, "personas": {"inferred": 0},
        "agents": {"folder": "agents", "transform": [], "instruct": ["ask"], "answer": ["say"], "refine": [], "judge": []},
        "verify": {"min_grounding": None}, "dedup": {"embedder": "hashing", "embedding": None},
        "test_share": 0, "training": {"base": str(base), "steps": 4, "batch_size": 2},
    }  # fmt: skip
    path = folder / f"{seeds.stem}.yaml"
    path.write_text(json.dumps(body))
    return load_recipe(path)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_two_use_cases_leave_one_sm_as_it_was_and_two_vms(
    made: tuple[Path, TrainedSM], wide: Path, tmp_path: Path
) -> None:
    sm, trained = made
    before = contents(sm)
    shutil.copytree(sm, tmp_path / "sm")
    for word in ("birds", "stars"):
        recipe = use_case(tmp_path, tmp_path / "sm", wide, table(tmp_path / f"{word}.csv", word))
        outcome = run(recipe, tmp_path / f"corpus-{word}")
        assert outcome.ended == "goal"
        train(tmp_path / f"corpus-{word}", tmp_path / "vm" / word)
        with RunFolder.read(tmp_path / f"corpus-{word}") as folder:
            engines = json.loads(folder.ledger.facts()["engines"])
            assert engines["sm"]["identity"] == f"continuer@{trained.weights}"
    assert [file.parent for file in tmp_path.rglob(FROZEN)] == [tmp_path / "sm"]
    vms = {file.parent.name for file in tmp_path.rglob(LINEAGE)} - {"sm"}
    assert vms == {"birds", "stars"}
    assert contents(tmp_path / "sm") == before
    assert contents(tmp_path / "vm" / "birds") != contents(tmp_path / "vm" / "stars")


def test_new_rows_of_two_tables_take_one_sm_and_make_two_vms(
    made: tuple[Path, TrainedSM], wide: Path, tmp_path: Path
) -> None:
    sm, trained = made
    before = contents(sm)
    for word in ("birds", "stars"):
        body = {
            "name": word, "seeds": [{"path": str(table(tmp_path / f"{word}.csv", word, rows=40))}], "accept": 4,
            "draws_per_seed": 10, "sm": {"backend": "transformers", "path": str(sm)},
            "rows": {"use_case": word, "target": [word], "shown": 2, "holdout": 0.2},
            "training": {"base": str(wide), "steps": 2, "batch_size": 2},
        }  # fmt: skip
        (tmp_path / f"{word}.yaml").write_text(json.dumps(body))
        assert run(load_recipe(tmp_path / f"{word}.yaml"), tmp_path / f"corpus-{word}").ended == "goal"
        train(tmp_path / f"corpus-{word}", tmp_path / "vm" / word)
        with RunFolder.read(tmp_path / f"corpus-{word}") as folder:
            assert json.loads(folder.ledger.facts()["engines"])["sm"]["identity"] == f"continuer@{trained.weights}"
            assert all(one.kind == "row" for one in folder.examples("accepted"))
    assert {file.parent.name for file in tmp_path.rglob(LINEAGE)} == {"birds", "stars"}
    assert not list(tmp_path.rglob(FROZEN)) and contents(sm) == before
    assert contents(tmp_path / "vm" / "birds") != contents(tmp_path / "vm" / "stars")


def test_the_folder_says_what_the_sm_is_and_has_seen(made: tuple[Path, TrainedSM], generic: list[Path]) -> None:
    sm, trained = made
    said = json.loads((sm / FROZEN).read_text())
    assert said["name"] == "continuer" and said["base"].startswith("base@") and (said["shown"], said["new"]) == (2, 2)
    assert [one["name"] for one in said["trained_on"]] == ["trees", "rivers"]
    assert [one["name"] for one in said["held_out"]] == ["ships"]
    assert [one["digest"] for one in said["trained_on"]] == [
        hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() for file in generic[:2]
    ]
    gap = said["loss"]["gap"]
    assert gap["high"] < 0 and gap["n"] == 6  # 24 rows in groups of 4, each once
    assert gap["mean"] == pytest.approx(said["loss"]["sm"] - said["loss"]["base"])
    assert said["loss"]["by_set"]["ships"]["sm"] == pytest.approx(trained.loss["sm"])
    lineage = read_lineage(sm)
    assert list(lineage.files) == [str(sm / "conversations.jsonl")] and Path(next(iter(lineage.files))).is_file()
    assert len(learned_rows(sm)) == 24 and "rivers" in (sm / "README.md").read_text()
    assert not list(sm.parent.glob(".*"))


def test_no_row_of_a_held_out_data_set_is_learned_from(made: tuple[Path, TrainedSM]) -> None:
    told = (made[0] / "conversations.jsonl").read_text()
    assert "trees1" in told and "rivers1" in told and "ships" not in told


def test_its_files_cannot_be_written_to(made: tuple[Path, TrainedSM]) -> None:
    files = [file for file in made[0].rglob("*") if file.is_file()]
    assert files and all(not file.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) for file in files)


def test_it_is_a_plain_model_folder(made: tuple[Path, TrainedSM]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert not (made[0] / "adapter_config.json").exists()
    assert AutoModelForCausalLM.from_pretrained(made[0]).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(made[0]).chat_template


def test_a_second_training_into_its_folder_is_refused(
    made: tuple[Path, TrainedSM], generic: list[Path], wide: Path
) -> None:
    before = contents(made[0])
    for restart in (False, True):
        with pytest.raises(RunFolderError, match="an SM is trained once"):
            train_sm(generic, made[0], "other", str(wide), shown=2, new=2, restart=restart)
    assert contents(made[0]) == before


@pytest.mark.parametrize("backend", ["transformers", "vllm", "vllm-server"])
async def test_weights_that_have_changed_are_refused_by_every_engine(
    made: tuple[Path, TrainedSM], tmp_path: Path, backend: str
) -> None:
    damaged = tmp_path / "sm"
    shutil.copytree(made[0], damaged)
    weights = next(damaged.glob("*.safetensors"))
    weights.chmod(0o644)
    content = bytearray(weights.read_bytes())
    content[-8] ^= 1
    weights.write_bytes(content)
    body = {"name": "x", "seeds": [{"path": "."}], "accept": 1, "sm": {"backend": backend, "path": "sm"}}
    recipe = Recipe.model_validate(body).at(tmp_path)
    with pytest.raises(ModelError, match="`continuer` has changed since it was trained"):
        await open_sm(recipe)


def test_a_use_case_that_the_sm_has_seen_is_refused_whatever_its_file_is_called(
    made: tuple[Path, TrainedSM], generic: list[Path], wide: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "seeds"
    folder.mkdir()
    table(folder / "birds.csv", "birds")
    run_out = tmp_path / "out"
    recipe = use_case(tmp_path, made[0], wide, folder)
    shutil.copyfile(generic[1], folder / "renamed.csv")
    with pytest.raises(RecipeError, match=r"renamed\.csv: the SM `continuer` was trained on this use case") as error:
        run(recipe, run_out)
    assert "`rivers`" in str(error.value) and not run_out.exists()
    shutil.copyfile(generic[2], folder / "renamed.csv")  # held out: it has not learned from it
    assert run(recipe, run_out).ended == "goal"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "no/good"}, "cannot be called"),
        ({"objective": "dpo"}, "training.objective"),
        ({"merge": False}, "training.merge"),
        ({"rank": 3}, "training.rank"),
        ({"shown": 30}, "data set `trees` has 24 rows"),
        ({"max_tokens": 64}, "data set `trees`: no training row fits 64 tokens"),
        ({"base": "gone"}, "no such folder"),
        ({"held_out": ("lakes",)}, "no data set is called `lakes`"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_model_is_loaded(
    generic: list[Path], wide: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    settings = {"name": "continuer", "base": str(wide), "shown": 2, "new": 2, "held_out": ("ships",)}
    with pytest.raises(UserError, match=said):
        train_sm(generic, tmp_path / "sm", **(settings | options))
    assert not list(tmp_path.iterdir())


def test_a_training_that_was_stopped_goes_on_only_as_the_same_sm(
    generic: list[Path], wide: Path, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise Stop

    def go(name: str = "continuer", **options: Any) -> TrainedSM:
        settings = {"shown": 2, "new": 2, "held_out": ("ships",), "steps": 4, "checkpoint_every": 1, "method": "full"}
        return train_sm(generic, tmp_path / "sm", name, str(wide), **(settings | options))

    with pytest.raises(Stop):
        go(watch=stop)
    assert not (tmp_path / "sm").exists()
    with pytest.raises(RunFolderError, match="another SM that was not finished"):
        go(draws=5)
    seen: list[int] = []
    made = go(watch=lambda progress: seen.append(progress.step))
    assert seen[0] > 1 and seen[-1] == 4
    assert [file.name for file in tmp_path.iterdir()] == ["sm"] and read_frozen(tmp_path / "sm")
    assert made.weights == read_frozen(tmp_path / "sm").weights  # type: ignore[union-attr]


def test_what_was_trained_is_not_trained_again_when_only_the_measurement_was_stopped(
    generic: list[Path], wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.training import sm

    def go() -> TrainedSM:
        return train_sm(generic, tmp_path / "sm", "continuer", str(wide), shown=2, new=2, steps=2, method="full")

    def fail(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sm, "_measured", fail)
        with pytest.raises(KeyboardInterrupt):
            go()
    assert not (tmp_path / "sm").exists()
    monkeypatch.setattr(sm, "train", fail)
    assert go().weights == read_frozen(tmp_path / "sm").weights  # type: ignore[union-attr]


def test_the_command_tells_what_is_learned_and_held_out_and_what_came_of_it(
    generic: list[Path], wide: Path, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from understudy.cli.main import app

    words = ["sm", *map(str, generic), "--out", str(tmp_path / "sm"), "--name", "continuer", "--base", str(wide),
             "--hold-out", "rivers", "--rows", "2", "--new", "2", "--draws", "4", "--steps", "2", "--set", "rank=8"]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "rivers" in done.output and "held out" in done.output and "step 2/2" in done.output
    assert "SM - base" in done.output and "read-only" in done.output
    assert read_lineage(tmp_path / "sm").training["rank"] == 8
