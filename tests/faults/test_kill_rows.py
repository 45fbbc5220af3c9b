"""kill -9 while rows are written: the finished table is that of a run nobody touched."""

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.corpus import RunFolder

from .comparing import difference
from .test_kill import journaled, rows
from .test_kill_people import calls

pytestmark = pytest.mark.slow
RECIPE = """
name: lakes
seeds: [{path: lakes.csv, kind: table}]
accept: 60
draws_per_seed: 30
sm: {backend: scripted, delay_s: 0.02}
dedup: {minhash: null, embedder: hashing, embedding: null}
in_flight: 4
rows:
  use_case: lakes and who looks after them
  target: [clean]
  holdout: 0.3
  shown: 6
  quotas: {clean: {"yes": 0.5, "no": 0.5}}
"""


def project(folder: Path) -> Path:
    """Rows of numbers, categories and free text, so that a draft takes two calls."""
    rng = random.Random(5)
    words = [f"{a}{b}" for a in ("reed", "frog", "boat", "fish", "mud") for b in ("y", "less", "ful", "ward")]
    with (folder / "lakes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("depth", "area", "shore", "note", "clean"))
        for _ in range(120):
            depth = rng.randint(2, 90)
            note = " ".join(rng.choice(words) for _ in range(5))
            clean = "yes" if depth + rng.randint(-20, 20) > 60 else "no"
            writer.writerow((depth, f"{rng.uniform(0.5, 40):.1f}", rng.choice(("sand", "rock", "reed")), note, clean))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


def written(out: Path) -> list[str]:
    """The cells of the accepted rows."""
    with RunFolder.read(out) as folder:
        return sorted(json.dumps(one.payload["row"], sort_keys=True) for one in folder.examples("accepted"))


def begin(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    command = "from understudy.cli import main; main()"
    words = [sys.executable, "-c", command, "run", str(recipe), "--out", str(out), "--yes"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.timeout(600)
def test_a_table_whose_run_was_killed_is_that_of_one_that_was_not(tmp_path: Path, fault: Callable[..., object]) -> None:
    recipe, calm, out = project(tmp_path), tmp_path / "calm", tmp_path / "killed"
    assert begin(recipe, calm).wait(200) == 0
    kills = 0
    # Once there is a ledger; while rows are written; when all are, and the report is not yet.
    for share in (0, 0.2, 0.6, 1):
        before, process = journaled(out), begin(recipe, out)
        while process.poll() is None and not ((out / "ledger.db").exists() and calls(out) >= share * calls(calm)):
            time.sleep(0.005)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        assert before <= journaled(out), "a journaled call was lost"
    assert kills == 4 and not (out / "report.json").exists()

    assert begin(recipe, out).wait(200) == 0
    assert journaled(out) == journaled(calm)  # none was made again in other words
    assert rows(out) == rows(calm)
    cells = written(out)
    assert cells == written(calm) and len(cells) == 60 == len(set(cells))
    ours, theirs = (json.loads((home / "report.json").read_text())["figures"]["table"] for home in (out, calm))
    assert ours == theirs and ours["written"] == 60
    with RunFolder.read(out) as one, RunFolder.read(calm) as other:
        assert one.accounting().drafts == other.accounting().drafts
    lost = difference(out, calm)
    assert lost == {"lost": 0, "doubled": 0}
    fault("rows of a table: killed while they are written", kills, **lost)
