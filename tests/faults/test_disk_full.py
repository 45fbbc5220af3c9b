"""A disk that fills up, for real: the kernel refuses a write, the run says so, and goes on when there is room."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("understudy")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it is what refuses the writes")
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
