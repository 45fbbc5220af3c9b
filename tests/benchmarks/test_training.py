"""The benchmark of training speed: its arithmetic, its rows, and a run on a tiny base."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training.py"


@pytest.fixture(scope="module")
def training() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_of_training", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_all_weights_take_six_flops_a_parameter_and_an_adapter_four_and_some(training: ModuleType) -> None:
    assert training.flops_per_token(100, 100) == 600
    assert training.flops_per_token(100, 5) == 410


def test_ours_is_compared_with_each_arm_in_the_same_round(training: ModuleType) -> None:
    rates = {"understudy": [10.0, 20.0, 60.0], "plain": [5.0, 40.0, 20.0]}
    found = training.summary(rates, {"understudy": 6.0, "plain": 3.0}, 240.0)
    assert found["plain"]["ours_by_this"] == {"median": 2.0, "low": 0.5, "high": 3.0}
    assert found["understudy"]["ours_by_this"] is None
    assert found["understudy"]["tokens_per_s"] == {"median": 20.0, "low": 10.0, "high": 60.0}
    assert found["understudy"]["utilisation"] == 0.5 and found["plain"]["utilisation"] == 0.25
    assert training.summary(rates, {"understudy": 6.0, "plain": 3.0}, None)["plain"]["utilisation"] is None
    lines = training.table(found).splitlines()
    assert "2.00 (0.50 to 3.00)" in lines[3] and "50.0%" in lines[2]


def test_made_up_rows_are_seeded_and_of_many_lengths(training: ModuleType) -> None:
    rows = training.generated(50, 80, 3)
    assert rows == training.generated(50, 80, 3) != training.generated(50, 80, 4)
    lengths = {len(row["messages"][1]["content"].split()) for row in rows}
    assert len(lengths) > 10 and max(lengths) <= 80


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--method", "dora"], ["--steps", "-1"]])
def test_a_senseless_command_line_is_refused(training: ModuleType, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        training.parse(words)


@pytest.mark.slow
def test_all_arms_read_the_same_tokens_and_differ_as_their_names_say(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "training.json"
    subprocess.run(
        [sys.executable, str(SCRIPT), "--base", str(tiny), "--words", "20", "--rounds", "2", "--steps", "2",
         "--peak-tflops", "1", "--out", str(out)],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    report = json.loads(out.read_text())
    runs = report["results"]["runs"]
    assert len(runs) == 4 and len({run["tokens"] for run in runs.values()}) == 1
    assert len({run["flops_per_token"] for run in runs.values()}) == 1
    assert [run["activation_checkpointing"] for run in runs.values()] == [False, True, False, False]
    ours, last = runs["understudy"], runs["TRL without it, in our precision"]
    assert (ours["bf16"], ours["weights"]) == (last["bf16"], last["weights"])
    for one in report["results"]["arms"].values():
        assert one["tokens_per_s"]["low"] > 0 and 0 < one["utilisation"] < 1
