"""What the journal costs and what it saves: `python benchmarks/journal.py --seeds 100000 --kills 20`.

Three measurements on one recipe (the one of `memory.py`: three calls a draft to the scripted SM, one draft a seed):

- a calm run: time, peak memory, bytes of ledger per seed;
- the same run killed (SIGKILL) when it reaches random drafts, and started again each time: how long it takes from the
  recipe to the first new call, and until the first draft is compared with all earlier ones, how many calls were made
  twice, and whether the corpus, sorted by id, is the same byte for byte;
- short runs with the journal and without, taken in turns: CPU and time per call. Without means that no call is kept:
  the run could not be resumed, and has no traces.

Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from machine import markdown, save
from memory import memory, prepare

_HOMES = ("accepted", "rejected", "duplicate", "failed")


def sit(folder: Path, journaled: bool) -> dict[str, Any]:
    """One sitting of the run in `folder`, in this process."""
    from understudy.corpus import Journal
    from understudy.dedup import PairIndex
    from understudy.graphs import run, runner
    from understudy.models.scripted import Scripted
    from understudy.nouns import Call
    from understudy.recipe_file import load_recipe

    recipe = load_recipe(folder / "recipe.yaml")
    answer, offer = Scripted.complete, PairIndex.offer
    reached: dict[str, float] = {}

    def note(what: str) -> None:
        if what not in reached:
            reached[what] = round(time.monotonic() - began, 3)
            (folder / "opened.new").write_text(json.dumps(reached))
            (folder / "opened.new").replace(folder / "opened")

    async def timed(self: Scripted, request: Any) -> Any:
        note("call")
        with open(folder / "asked", "ab", buffering=0) as asked:
            asked.write(request.seed.to_bytes(8))
        return await answer(self, request)

    def compared(self: PairIndex, *args: Any) -> Any:
        note("gate")
        return offer(self, *args)

    async def nothing(self: Journal, call: Call) -> None:
        del self, call

    if journaled:
        Scripted.complete = timed  # type: ignore[method-assign]
        PairIndex.offer = compared  # type: ignore[method-assign]
    else:
        runner.Journal._record = nothing  # type: ignore[method-assign]
    began, cpu = time.monotonic(), time.process_time()
    outcome = run(recipe, folder / "corpus")
    return {
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - cpu,
        "peak_mib": memory("VmHWM"),
        "calls": outcome.calls_made,
        "drafts": outcome.books.drafts,
    }


def start(folder: Path, journaled: bool = True) -> subprocess.Popen[str]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--in", str(folder), *([] if journaled else ["--unjournaled"])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603


def finish(child: subprocess.Popen[str]) -> dict[str, Any]:
    """What it measured."""
    out, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"the run ended with exit code {child.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


def drafts_committed(folder: Path) -> int:
    """How far the run in `folder` is."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/corpus/ledger.db?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT COALESCE(MAX(turn) + 1, 0) FROM drafts").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def rows(corpus: Path) -> Iterator[bytes]:
    """A digest of every row."""
    from understudy.corpus import RunFolder

    with RunFolder.read(corpus) as folder:
        for home in _HOMES:
            for row in folder.rows(home):
                yield hashlib.blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=16).digest()


def digest(corpus: Path) -> str:
    """Of all rows, sorted."""
    return hashlib.sha256(b"".join(sorted(rows(corpus)))).hexdigest()


def firsts(folder: Path) -> dict[str, float]:
    """Seconds from the recipe to the sitting's first call and first draft at the gate, as far as it came."""
    noted = folder / "opened"
    found: dict[str, float] = json.loads(noted.read_text()) if noted.exists() else {}
    noted.unlink(missing_ok=True)
    return found


def killed_run(folder: Path, seeds: int, kills: int) -> dict[str, Any]:
    """Kill and start again until it ends."""
    rng = random.Random(seeds)  # noqa: S311
    points = sorted(rng.randrange(seeds // 100, seeds - seeds // 100) for _ in range(kills))
    opened: list[dict[str, float]] = []
    for point in points:
        child = start(folder)
        while drafts_committed(folder) < point:
            if child.poll() is not None:
                raise SystemExit(f"the run ended before draft {point}")
            time.sleep(0.05)
        time.sleep(rng.random())
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        opened.append(firsts(folder))
        print(f"killed after draft {point:,}; it had opened in {opened[-1]} s", file=sys.stderr, flush=True)
    found = finish(start(folder))
    opened.append(firsts(folder))
    calls = [one["call"] for one in opened[1:] if "call" in one]  # one may be killed before it gets there
    asked = (folder / "asked").read_bytes()
    keys = {asked[place : place + 8] for place in range(0, len(asked), 8)}
    return {
        "kills": kills,
        "first_call_s_most": max(calls),
        "first_call_s_median": statistics.median(calls),
        "first_at_the_gate_s_most": max(one.get("gate", 0.0) for one in opened[1:]),
        "calls_made": len(asked) // 8,
        "calls_made_twice": len(asked) // 8 - len(keys),
        "last_sitting_peak_mib": found["peak_mib"],
        "digest": digest(folder / "corpus"),
    }


def cost(folder: Path, seeds: int, rounds: int) -> dict[str, Any]:
    """CPU and time per call, with the journal and without, in turns."""
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for number in range(rounds):
        for journaled in (True, False):
            place = folder / f"{number}-{journaled}"
            place.mkdir()
            prepare(place, seeds)
            found[journaled].append(finish(start(place, journaled)))

    def per_call(journaled: bool, what: str) -> float:
        return statistics.median(one[what] * 1000 / one["calls"] for one in found[journaled])

    return {
        f"{what}_ms_per_call_{'with' if journaled else 'without'}": round(per_call(journaled, key), 3)
        for what, key in (("cpu", "cpu_s"), ("wall", "seconds"))
        for journaled in (True, False)
    } | {"seeds": seeds, "rounds": rounds}


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cost-seeds", type=int, default=2000, help="seeds of each short run")
    parser.add_argument("--rounds", type=int, default=3, help="short runs of each kind")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    parser.add_argument("--out", type=Path, help="write the results as JSON, too")
    parser.add_argument("--in", dest="inside", type=Path, help=argparse.SUPPRESS)  # in a child process
    parser.add_argument("--unjournaled", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(sit(options.inside, not options.unjournaled)))
        return 0
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="understudy-journal-") as name:
        folder = options.folder or Path(name)
        for part in ("calm", "killed", "cost"):
            (folder / part).mkdir(parents=True)
        results.append(cost(folder / "cost", options.cost_seeds, options.rounds))
        print(results[-1], file=sys.stderr, flush=True)
        prepare(folder / "calm", options.seeds)
        calm = finish(start(folder / "calm"))
        ledger = (folder / "calm" / "corpus" / "ledger.db").stat().st_size
        results.append(calm | {"seeds": options.seeds, "ledger_bytes_per_seed": round(ledger / options.seeds, 1)})
        print(results[-1], file=sys.stderr, flush=True)
        expected = digest(folder / "calm" / "corpus")
        prepare(folder / "killed", options.seeds)
        killed = killed_run(folder / "killed", options.seeds, options.kills)
        killed["same"] = killed.pop("digest") == expected
        results.append(killed)
    facts = [(key.replace("_", " "), f"{value}") for one in results for key, value in one.items()]
    print(markdown(["what", "measured"], [list(fact) for fact in facts]))
    save(options.out, "journal", {"seeds": options.seeds, "kills": options.kills}, results)
    return 0 if killed["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
