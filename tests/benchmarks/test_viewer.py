"""The benchmark of the viewer runs: it asks for every page of a corpus that it has written itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "viewer.py"


@pytest.mark.slow
def test_every_page_is_asked_for_as_often_as_told(tmp_path: Path) -> None:
    out = tmp_path / "viewer.json"
    command = [sys.executable, str(SCRIPT), "--drafts", "5000", "--rounds", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())["results"]
    assert len(found["pages"]) > 15 and len(found["memory after each round, MiB"]) == 2
    assert all(0 < one["median_s"] <= one["slowest_s"] for one in found["pages"].values())
