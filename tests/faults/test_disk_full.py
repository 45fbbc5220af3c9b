"""A disk that fills up or is slow, for real: the kernel refuses a write or takes its time over it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.graphs import generate, runner
from understudy.recipe_file import load_recipe

from .comparing import difference

COMMAND = Path(sys.executable).with_name("understudy")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it is what strikes")


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("call", ["pwrite64", "fsync"])
def test_a_full_disk_stops_the_run_with_its_code_and_loses_nothing(project: Path, call: str) -> None:
    run = [str(COMMAND), "run", str(project / "recipe.yaml"), "--out", str(project / "out")]
    refuse = ["-e", f"trace={call}", "-e", f"inject={call}:error=ENOSPC:when=6+"]
    stopped = subprocess.run(
        ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", *refuse, *run],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert stopped.returncode == 4, stopped.stderr
    assert "MiB free" in stopped.stderr and "make room" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    resumed = subprocess.run(run, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.slow
@needs_strace
def test_a_disk_that_takes_200_ms_to_sync_delays_the_run_and_nothing_else(
    project: Path, fault: Callable[..., object]
) -> None:
    run = [str(COMMAND), "run", str(project / "recipe.yaml"), "--set", "accept=20", "--out"]
    subprocess.run([*run, str(project / "calm")], check=True, capture_output=True)
    log = project / "syncs"
    slowly = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_exit=200000"]
    traced = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", str(log), *slowly, *run, str(project / "slow")]
    done = subprocess.run(traced, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    syncs = log.read_text().count("DELAYED")
    assert syncs > 10
    fault("fsync takes 200 ms", syncs, **difference(project / "slow", project / "calm"))


async def test_a_run_stops_before_the_disk_is_full(
    project: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., object]
) -> None:
    settings = ("accept=20", "sm={backend: scripted, delay_s: 0.05}")
    recipe = load_recipe(project / "recipe.yaml", settings)
    await generate(recipe, project / "calm")
    with monkeypatch.context() as patch:
        patch.setattr(runner, "LEAST_FREE", 1 << 62)
        outcome = await generate(recipe, project / "out")
    assert outcome.ended == "disk" and 0 < outcome.books.drafts["accepted"] < 20
    assert (await generate(recipe, project / "out")).ended == "goal"
    assert "MiB are free" in outcome.detail
    fault("the disk is nearly full", **difference(project / "out", project / "calm"))
