"""Kills and disk errors at every system call that writes: a few of them here, all with `make torture`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).with_name("sweep.py")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it is what strikes")
@pytest.mark.timeout(4 * 3600)
def test_a_run_struck_at_any_system_call_is_resumed_as_if_nothing_had_happened(tmp_path: Path, fault) -> None:
    every, out = os.environ.get("UNDERSTUDY_SWEEP_EVERY", "200"), tmp_path / "points.json"
    done = subprocess.run(
        [sys.executable, str(SWEEP), "--every", every, "--out", str(out)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    points = json.loads(out.read_text())
    kills = [point for point in points if point["fault"] == "killed" and point["struck"]]
    assert len({point["call"] for point in kills}) >= 4
    assert max(point["wasted"] for point in points) <= 4  # the drafts under way
    for kind in dict.fromkeys((point["fault"], point["call"]) for point in points if point["struck"]):
        struck = [point for point in points if (point["fault"], point["call"]) == kind and point["struck"]]
        messages = [point["message"] for point in struck if point["message"]]
        assert all("make room" in said and str(os.sep) in said for said in messages)
        fault(f"{kind[0]} at {kind[1]}", len(struck), message=messages[0].partition("\n")[0] if messages else "")
