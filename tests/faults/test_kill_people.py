"""kill -9 while people's relatives are looked for: the finished set is that of a run nobody touched."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from understudy.corpus import RunFolder
from understudy.personas import load_set

pytestmark = pytest.mark.slow
RECIPE = """
name: people
seeds: [{path: docs}]
accept: 1
sm: {backend: scripted, delay_s: 0.02}
dedup: {minhash: 0.5, embedding: null}
in_flight: 8
"""


def relate(folder: Path, out: str) -> subprocess.Popen[bytes]:
    command = "from understudy.cli import main; main()"
    words = ["personas", "relate", "learning", folder / "recipe.yaml", "--out", folder / out, "--hops", "3", "--yes"]
    return subprocess.Popen([sys.executable, "-c", command, *map(str, words)], stdout=subprocess.DEVNULL)


def calls(out: Path) -> int:
    """How many calls the ledger has journaled or rolled out."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{out / 'ledger.db'}?mode=ro", uri=True)) as ledger:
        ((live, rolled),) = ledger.execute(
            "SELECT (SELECT COUNT(*) FROM calls), (SELECT COALESCE(SUM(calls), 0) FROM usage)"
        )
        return int(live) + int(rolled)
    return 0


@pytest.mark.timeout(900)
def test_relatives_of_a_killed_run_are_those_of_one_that_was_not(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert relate(tmp_path, "whole").wait(300) == 0
    kills = 0
    for share in (0.2, 0.5, 0.8):
        process = relate(tmp_path, "killed")
        while process.poll() is None and calls(tmp_path / "killed") < share * calls(tmp_path / "whole"):
            time.sleep(0.005)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills == 3
    assert relate(tmp_path, "killed").wait(300) == 0
    whole, killed = load_set(str(tmp_path / "whole")), load_set(str(tmp_path / "killed"))
    assert killed.personas == whole.personas and {one.hop for one in whole.personas} == {0, 1, 2, 3}
    with RunFolder.read(tmp_path / "whole") as one, RunFolder.read(tmp_path / "killed") as other:
        assert one.digest == other.digest
        books = [folder.accounting().drafts for folder in (one, other)]
    assert books[0] == books[1] and books[0]["duplicate"] > 0  # some lines of relatives were cut
    ids = {persona.id for persona in killed.personas}
    assert all(persona.parent in ids for persona in killed.personas if persona.hop)
