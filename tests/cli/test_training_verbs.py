"""Train, sweep, lineage and blame as a user meets them: mistakes first, then the whole way on a tiny base."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.training import read_lineage, train

SCRIPT = Path(sys.executable).with_name("understudy")


def project(home: Path, tiny: Path, **training: Any) -> Path:
    rows = [{"prompt": f"Where is the {word}?", "completion": f"The {word} is at home."} for word in
            ("cat", "dog", "bird", "fish", "horse", "cow")]  # fmt: skip
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    block = {"base": str(tiny), "data": ["rows.jsonl"], "steps": 4, "batch_size": 2, **training}
    (home / "recipe.yaml").write_text(
        json.dumps({"name": "pets", "seeds": [{"path": "x"}], "accept": 1, "training": block})
    )
    return home / "recipe.yaml"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "rnak=8"], "did you mean `rank`?"),
        (["--set", "rank"], "expected: key=value"),
        (["--set", "rank=24"], "training.rank: got 24"),
        (["--method", "lorra"], "training.method: got 'lorra'"),
        (["--data", "gone.jsonl"], "no such file"),
        (["--base", "gone"], "no such folder"),
        (["--set", "accelerate=gpus"], "no configuration of accelerate `gpus`"),
    ],
)
def test_mistakes_name_the_key_and_what_would_do(
    understudy: Callable[..., Any], tmp_path: Path, tiny: Path, words: list[str], said: str
) -> None:
    result = understudy("train", project(tmp_path, tiny), "--out", "vm", *words)
    assert result.code == 2 and said in result.err, result
    assert not (tmp_path / "vm").exists() and not (tmp_path / ".vm.training").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--over", "methd=lora,full"], "did you mean `method`?"),
        (["--over", "method=lora,lora"], "different values"),
        ([], "nothing to vary"),
    ],
)
def test_a_sweep_refuses_what_it_does_not_know(
    understudy: Callable[..., Any], tmp_path: Path, words: list[str], said: str
) -> None:
    result = understudy("sweep", tmp_path / "corpus", "--out", "s", *words)
    assert result.code == 2 and said in result.err
    assert not (tmp_path / "s").exists()


def test_a_dry_run_shows_lengths_and_loads_nothing(understudy: Callable[..., Any], tmp_path: Path, tiny: Path) -> None:
    result = understudy("train", project(tmp_path, tiny), "--out", "vm", "--dry-run")
    assert result.code == 0
    assert "6 rows" in result.out and "0 left out as longer than 512" in result.out and "█" in result.out
    assert not (tmp_path / "vm").exists() and not (tmp_path / ".vm.training").exists()


def test_from_a_wrong_answer_back_to_the_row_that_taught_it(
    understudy: Callable[..., Any], tmp_path: Path, tiny: Path
) -> None:
    result = understudy("train", project(tmp_path, tiny), "--out", "vm")
    assert result.code == 0 and "understudy eval vm" in result.out
    told = understudy("lineage", "vm")
    assert (
        told.code == 0 and "rows.jsonl" in told.out and "(unchanged)" in told.out and "corpus        none" in told.out
    )
    as_json = json.loads(understudy("lineage", "vm", "--json").out)
    assert as_json["learned"] == 6 and as_json["base_is"] == "unchanged"
    (tmp_path / "rows.jsonl").rename(tmp_path / "moved.jsonl")
    gone = understudy("blame", "vm", "Where is the horse?", "--answer", "It is at home.")
    assert gone.code == 2 and "no such file" in gone.err


@pytest.mark.slow
def test_a_reward_model_is_not_asked_for_words(understudy: Callable[..., Any], tmp_path: Path, tiny: Path) -> None:
    recipe = project(tmp_path, tiny, objective="outcome")
    rows = [
        {"prompt": "Good?", "completion": word, "label": n % 2} for n, word in enumerate(("no", "yes", "no", "yes"))
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert understudy("train", recipe, "--out", "orm").code == 0
    for verb in (("eval", "orm"), ("chat", "orm"), ("serve", "orm"), ("blame", "orm", "Good?")):
        result = understudy(*verb)
        assert result.code == 2 and "does not answer in words" in result.err, (verb, result)


@pytest.mark.slow
def test_blame_finds_the_nearest_row_by_meaning(understudy: Callable[..., Any], tmp_path: Path, tiny: Path) -> None:
    assert understudy("train", project(tmp_path, tiny), "--out", "vm").code == 0
    found = json.loads(
        understudy("blame", "vm", "Where did the pony go?", "--answer", "The horse is at home.", "--json").out
    )
    assert found["nearest"][0]["prompt"] == "Where is the horse?"
    assert found["nearest"][0]["similarity"] > found["nearest"][-1]["similarity"]
    shown = understudy("blame", "vm", "Where is the \x1b[31mcow?", "--answer", "Here.", "--top", 1)
    assert shown.code == 0 and "\x1b" not in shown.out and "is at home." in shown.out
    asked = understudy("blame", "vm", "Where is the cow?", "--top", 1)  # the VM is asked for its answer
    assert asked.code == 0 and "answered:" in asked.out


@pytest.mark.slow
def test_two_processes_train_one_vm(tmp_path: Path, tiny: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(SCRIPT)]
    recipe = project(tmp_path, tiny)
    done = subprocess.run(
        [*command, "train", str(recipe), "--out", str(tmp_path / "vm")], cwd=tmp_path, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("step 4/4") == 1
    alone = train(recipe, tmp_path / "alone")
    both = read_lineage(tmp_path / "vm")
    # Each step takes the same rows, halved between the two; the loss that is told is the mean of both halves.
    assert [loss for _, loss in both.losses] == pytest.approx([loss for _, loss in alone.losses], rel=0.05)


@pytest.mark.slow
def test_a_configuration_of_accelerate_starts_the_command_once_for_each_device(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nnum_machines: 1\nnum_processes: 1\nuse_cpu: true\n"
    )
    recipe = project(tmp_path, tiny, accelerate="one.yaml")
    done = subprocess.run(
        [str(SCRIPT), "train", str(recipe), "--out", str(tmp_path / "vm")], cwd=tmp_path, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("step 4/4") == 1 and read_lineage(tmp_path / "vm").steps == 4
