import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "personas.py"


@pytest.mark.slow
def test_planted_copies_are_found_by_both_ways(tmp_path: Path):
    out = tmp_path / "personas.json"
    command = [sys.executable, SCRIPT, "--personas", "2000", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = json.loads(out.read_text())["results"]
    assert (ours["way"], theirs["way"]) == ("understudy", "datasketch")
    for one in (ours, theirs):
        assert one["recall"] >= 0.99 and one["precision"] >= 0.99
        assert one["us_each"] > 0 and one["bytes_each"] > 0
