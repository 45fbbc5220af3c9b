"""kill -9 at random moments: the finished corpus is that of a run nobody touched."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from .comparing import difference
from .failing_server import FailingServer

SITTING = Path(__file__).parent / "sitting.py"
RECIPE = """
name: torture
seeds:
  - path: docs
    chunk_tokens: 48
accept: {accept}
draws_per_seed: 24
sm: {sm}
dedup: {{embedder: hashing, embedding: 0.97}}
in_flight: 8
"""


@pytest.fixture
def sitting() -> Iterator[subprocess.Popen[str]]:
    """The process that runs recipes on demand."""
    with subprocess.Popen(
        [sys.executable, str(SITTING)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def ask(process: subprocess.Popen[str], recipe: Path, out: Path, kill_after: float | None = None) -> dict[str, object]:
    assert process.stdin and process.stdout
    process.stdin.write(f"{recipe} {out} {'-' if kill_after is None else kill_after}\n")
    process.stdin.flush()
    answer: dict[str, object] = json.loads(process.stdout.readline())
    return answer


def project(folder: Path, accept: int, sm: str = "{backend: scripted, delay_s: 0.02}") -> Path:
    docs = folder / "docs"
    docs.mkdir()
    rng = random.Random(3)
    words = [
        f"{a}{b}"
        for a in ("gear", "river", "stone", "bread", "lamp", "cloud")
        for b in ("wise", "mill", "ford", "light")
    ]
    for number in range(6):
        paragraphs = [" ".join(rng.choice(words) for _ in range(30)) + "." for _ in range(5)]
        (docs / f"{number}.md").write_text("\n\n".join(paragraphs), encoding="utf-8")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(accept=accept, sm=sm), encoding="utf-8")
    return recipe


def rows(out: Path) -> dict[str, dict[str, object]]:
    """Every committed row by id, with the name of the file it lies in."""
    found = {}
    for home in ("data", "rejected", "duplicates", "failed"):
        for path in sorted((out / home).glob("*.parquet")):
            for row in pq.read_table(path).to_pylist():
                assert row["id"] not in found, "a row stands twice"
                found[row["id"]] = {**row, "file": f"{home}/{path.name}"}
    return found


def journaled(out: Path) -> set[bytes]:
    """What the ledger knows of every call, in itself or in a trace segment."""
    if not (out / "ledger.db").exists():
        return set()
    with closing(sqlite3.connect(out / "ledger.db")) as db:
        return {key for (key,) in db.execute("SELECT substr(key, 1, 8) FROM calls UNION SELECT key FROM rolled")}


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_same_corpus_and_repeats_no_call(
    tmp_path: Path, sitting: subprocess.Popen[str]
) -> None:
    recipe = project(tmp_path, accept=150)
    calm = ask(sitting, recipe, tmp_path / "calm")
    assert calm["ended"] == "goal"

    out = tmp_path / "killed"
    rng = random.Random()
    kills = 0
    for _ in range(60):
        before = journaled(out)
        answer = ask(sitting, recipe, out, kill_after=rng.uniform(0.05, 0.5))
        assert "error" not in answer, answer
        assert before <= journaled(out), "a journaled call was lost"
        kills += answer["signal"] == 9
        if kills == 10 or answer["signal"] != 9:
            break
    assert kills == 10, f"the run ended after {kills} kills; make it longer"

    before = journaled(out)
    last = ask(sitting, recipe, out)
    assert last["ended"] == "goal"
    # Each new key is a call made now, and each call made now is a new key: none was made again.
    assert last["calls_made"] == len(journaled(out) - before)
    assert rows(out) == rows(tmp_path / "calm")


@pytest.mark.slow
def test_running_a_finished_recipe_again_makes_no_call(tmp_path: Path, sitting: subprocess.Popen[str]) -> None:
    recipe = project(tmp_path, accept=20)
    ask(sitting, recipe, tmp_path / "out")
    again = ask(sitting, recipe, tmp_path / "out")
    assert again == {"signal": 0, "ended": "goal", "calls_made": 0}


@pytest.mark.slow
async def test_a_run_against_a_failing_endpoint_that_is_killed_ten_times_accounts_for_every_seed(
    tmp_path: Path, sitting: subprocess.Popen[str], fault: Callable[..., object]
) -> None:
    async with FailingServer(delay_s=0.02) as server:
        sm = json.dumps({"backend": "openai", "base_url": server.url, "model": "m", "timeout_s": 0.5})
        recipe = project(tmp_path, 120, sm)
        calm = await asyncio.to_thread(ask, sitting, recipe, tmp_path / "calm")
        assert calm["ended"] == "goal", calm
        server.once = ("429", "500", "503", "reset", "hang", "half of the JSON", "an HTML page")
        rng, kills = random.Random(), 0
        while kills < 10:
            answer = await asyncio.to_thread(ask, sitting, recipe, tmp_path / "out", rng.uniform(0.3, 1.2))
            assert "error" not in answer, answer
            assert answer["signal"] == 9, f"the run ended after {kills} kills; make it longer"
            kills += 1
        last = await asyncio.to_thread(ask, sitting, recipe, tmp_path / "out")
    assert last["ended"] == "goal", last
    failed = sum(count for what, count in server.answered.items() if what != "ok")
    assert failed > 50
    lost = difference(tmp_path / "out", tmp_path / "calm")
    fault("killed ten times while a third of the requests fail", kills + failed, **lost)
