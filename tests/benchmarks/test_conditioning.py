import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "conditioning.py"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_calls_with_a_person_each_say_more_different_things(tmp_path: Path):
    out = tmp_path / "conditioning.json"
    command = [sys.executable, SCRIPT, "--tasks", "ask-assistant", "--calls", "200", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1700, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())["results"]["ask-assistant"]
    assert 0 < found["distinct-2"]["low"] < found["distinct-2"]["gap"] < found["distinct-2"]["high"]
    assert found["mean cosine"]["low"] < found["mean cosine"]["gap"] < found["mean cosine"]["high"] < 0
