import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "memory.py"
spec = importlib.util.spec_from_file_location("memory", SCRIPT)
assert spec and spec.loader
memory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory)


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_it_runs_every_size_and_reports_a_table_and_json(tmp_path: Path):
    out = tmp_path / "memory.json"
    done = command("--sizes", "12,24", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| seeds | peak mib |")
    assert "Peak memory at 24 seeds is" in done.stdout
    report = json.loads(out.read_text())
    assert set(report) == {"benchmark", "date", "hardware", "settings", "results"}
    assert {"cpu", "cores", "memory_gib", "system", "python"} <= set(report["hardware"])
    for result, seeds in zip(report["results"], (12, 24), strict=True):
        assert result["seeds"] == seeds
        assert result["peak_mib"] >= result["start_mib"] > 10
        assert sum(result[status] for status in ("accepted", "rejected", "duplicate", "failed")) == seeds
        assert result["accepted"] > seeds / 2
        assert result["cpu_ms_per_draft"] > 0 and result["ledger_bytes_per_seed"] > 100


@pytest.mark.parametrize("sizes", ["many", "0", "10,", "-5", "10,1e3"])
def test_a_wrong_size_is_an_error_that_says_what_is_expected(sizes: str):
    done = command(f"--sizes={sizes}")
    assert done.returncode == 2
    assert "expected whole numbers of seeds" in done.stderr
    assert done.stdout == ""


def test_the_process_finds_its_own_memory():
    assert 0 < memory.memory("VmRSS") <= memory.memory("VmHWM")


def test_seeds_are_the_same_in_a_run_of_any_size_and_share_hardly_a_word():
    assert memory.seed_text(7) == memory.seed_text(7)
    one, other = set(memory.seed_text(1).split()), set(memory.seed_text(2).split())
    assert len(one) > 80 and len(one & other) < 3


@pytest.mark.slow
def test_a_recipe_that_accepts_too_little_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "RECIPE", memory.RECIPE + "verify: {{min_words: 300}}\n")
    with pytest.raises(SystemExit, match="only 0 of 8 drafts were accepted"):
        memory.measure_apart(8)
