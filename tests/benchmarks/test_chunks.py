"""The benchmark of chunk lengths runs, and its figures add up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "chunks.py"
DOCS = Path(__file__).parents[2] / "cli" / "starter" / "docs"


@pytest.mark.slow
def test_each_length_spends_no_more_than_the_budget_and_says_what_it_reached(tmp_path: Path) -> None:
    out = tmp_path / "chunks.json"
    subprocess.run(
        [sys.executable, str(SCRIPT), "--docs", str(DOCS), "--lengths", "64,400", "--tokens", "9000",
         "--sm", '{"backend": "scripted"}', "--out", str(out)],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    found = json.loads(out.read_text())["results"]
    assert found["64"]["chunks"] > found["400"]["chunks"]
    for one in found.values():
        assert 0 < one["tokens"] <= 9000 and one["accepted"] <= one["drafts"]
        assert 0 <= one["chunks_reached"] <= 1 and 0 <= one["words_reached"] <= 1
