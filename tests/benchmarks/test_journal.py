import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "journal.py"


@pytest.mark.slow
def test_a_run_that_is_killed_is_compared_with_one_that_is_not(tmp_path: Path):
    out = tmp_path / "journal.json"
    sizes = ["--seeds", "800", "--kills", "2", "--cost-seeds", "30", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *sizes, "--out", str(out)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    cost, calm, killed = json.loads(out.read_text())["results"]
    assert cost["cpu_ms_per_call_with"] > 0 and cost["cpu_ms_per_call_without"] > 0
    assert sum(calm["drafts"].values()) == 800
    assert killed["same"] and killed["kills"] == 2
    assert calm["calls"] <= killed["calls_made"]
    # No more than were under way at each of the two kills.
    assert killed["calls_made_twice"] <= 2 * 32
    assert "killed after draft" in done.stderr
