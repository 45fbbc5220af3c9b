"""A training that is killed three times ends as one that was not."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.training import read_lineage

pytestmark = pytest.mark.slow


def sitting(recipe: Path, out: Path, kill_at: int | None, by: signal.Signals = signal.SIGKILL) -> str:
    """Train in a process of its own; stop it as soon as it has told of a step; what it said."""
    command = [str(Path(sys.executable).with_name("understudy")), "train", str(recipe), "--out", str(out)]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            if kill_at is not None and line.startswith("step ") and int(line.split()[1].partition("/")[0]) >= kill_at:
                os.kill(process.pid, by)
                break
        said.append(process.stdout.read())
        code = process.wait(timeout=300)
    wanted = 0 if kill_at is None else 130 if by == signal.SIGINT else -by
    assert code == wanted, "".join(said)
    return "".join(said)


def project(home: Path, tiny: Path) -> Path:
    rows = [
        {"prompt": f"What is {n} plus {n}?", "completion": f"It is {2 * n}, and no more than that."} for n in range(30)
    ]  # fmt: skip
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    block = {"base": str(tiny), "data": ["rows.jsonl"], "steps": 40, "batch_size": 2, "checkpoint_every": 3}
    body = {"name": "sums", "seeds": [{"path": "none"}], "accept": 1, "training": {**block, "learning_rate": 0.01}}
    (home / "recipe.yaml").write_text(json.dumps(body))
    return home / "recipe.yaml"


def test_a_training_killed_three_times_ends_at_the_same_loss(
    tmp_path: Path, tiny: Path, fault: Callable[..., object]
) -> None:
    recipe = project(tmp_path, tiny)
    for kill_at in (8, 18, 30):
        sitting(recipe, tmp_path / "vm", kill_at)
        assert not (tmp_path / "vm").exists()
    sitting(recipe, tmp_path / "vm", None)
    sitting(recipe, tmp_path / "whole", None)
    killed, whole = read_lineage(tmp_path / "vm"), read_lineage(tmp_path / "whole")
    assert [step for step, _ in killed.losses] == [step for step, _ in whole.losses]
    assert [loss for _, loss in killed.losses] == pytest.approx([loss for _, loss in whole.losses], rel=1e-6)
    from safetensors.numpy import load_file

    ours, theirs = (load_file(home / "adapter_model.safetensors") for home in (tmp_path / "vm", tmp_path / "whole"))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert weights == pytest.approx(theirs[name], abs=1e-6)
    fault("a training is killed, three times", injections=3)


def test_ctrl_c_keeps_the_step_in_hand(tmp_path: Path, tiny: Path) -> None:
    recipe = project(tmp_path, tiny)
    assert "Stopped" in sitting(recipe, tmp_path / "vm", 8, signal.SIGINT)
    (newest,) = sorted((tmp_path / ".vm.training" / "checkpoints").glob("*/complete"))[-1:]
    kept = int(newest.parent.name.partition("-")[2])
    said = sitting(recipe, tmp_path / "vm", None)
    first = next(int(line.split()[1].partition("/")[0]) for line in said.splitlines() if line.startswith("step "))
    assert kept >= 8 and first > kept - 2
    assert len(read_lineage(tmp_path / "vm").losses) == 40
