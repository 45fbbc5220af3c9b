"""Kill a run, or refuse it the disk, at one system call after the other; then resume it and compare.

    python tests/faults/sweep.py                 killed at every call of every kind: most of an hour
    python tests/faults/sweep.py --every 40      at one in forty

Each point is a process of its own. It is forked from this one, which has imported everything, stops, and goes on when
strace holds it; strace then kills it when it enters the k-th call of a kind (the kernel never sees the call), or answers
the call with an error. k grows until a run ends untouched, so no call is left out. What is left is resumed without strace
and must be, row by row, the corpus of a run that nothing happened to, with every seed in one state and no call repeated
but those that were under way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import understudy.graphs.runner as runner
import understudy.graphs.shards as shards
from understudy.corpus import RunFolder, merging
from understudy.corpus.repair import check
from understudy.errors import StorageError
from understudy.models import Scripted
from understudy.models.sm import Reply, Request
from understudy.recipe_file import load_recipe

CALLS = ("pwrite64", "write", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "mkdir")
FAULTS = {"killed": "signal=KILL", "disk full": "error=ENOSPC", "disk fails": "error=EIO"}
# How a kill and an error show; SQLite meets a failing truncation or deletion by going on, and so may we.
IN_FLIGHT = 4
RECIPE = f"""name: sweep
seeds: [{{path: seeds.jsonl, text_field: text}}]
accept: 18
draws_per_seed: 4
sm: {{backend: scripted}}
agents: {{transform: [], refine: []}}
dedup: {{embedding: null}}
in_flight: {IN_FLIGHT}
"""


@dataclass
class Point:
    """One fault, and what came of it."""

    call: str
    fault: str
    k: int
    struck: bool
    """Whether the run came so far; if not, there are no more calls of this kind."""
    message: str = ""
    """What the run said of an error."""
    wrong: str = ""
    """What was not as it must be after the run was resumed."""
    wasted: int = 0
    """SM calls made once more."""


class Asked:
    """What an SM was asked, where a kill leaves it: in memory that parent and child share."""

    def __init__(self, most: int = 100_000) -> None:
        self._room = mmap.mmap(-1, 8 * (most + 1))

    def __len__(self) -> int:
        return int(struct.unpack_from("q", self._room)[0])

    def add(self, seed: int) -> None:
        """Note a request by its sampler's seed, which is half of its key."""
        struct.pack_into("Q", self._room, 8 * (len(self) + 1), seed)
        struct.pack_into("q", self._room, 0, len(self) + 1)

    def clear(self) -> None:
        """Forget all."""
        struct.pack_into("q", self._room, 0, 0)

    def seeds(self) -> tuple[int, ...]:
        """The seeds of all requests."""
        return struct.unpack_from(f"{len(self)}Q", self._room, 8)

    def again(self) -> int:
        """How many requests had been made before."""
        return len(self) - len(set(self.seeds()))


class Counting(Scripted):
    """Notes its requests."""

    noted: Any

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self.noted.add(request.seed)
        await asyncio.sleep(0)
        return await super().complete(request)


def project(folder: Path) -> Path:
    """A recipe whose run takes some hundred system calls that write."""
    rng = random.Random(3)
    words = ["".join(rng.choices("bcdfgklmnprst", k=2)) + rng.choice("aeiou") + rng.choice("lnrst") for _ in range(400)]
    lines = [json.dumps({"text": " ".join(rng.choices(words, k=40)).capitalize() + "."}) for _ in range(12)]
    (folder / "seeds.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder / "recipe.yaml"


def fork(work: Callable[[], int], held: bool) -> int:
    """A child that does `work`, and first stops if it is `held`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if held:
            signal.raise_signal(signal.SIGSTOP)
        code = work()
    except BaseException:
        traceback.print_exc()
        code = 99
    os._exit(code)


def sitting(recipe: Path, out: Path, asked: Asked, said: Path) -> int:
    """One sitting of the run; its exit code."""
    shards.SHARD_DRAFTS, merging.SPAN = 6, 2
    try:
        outcome = asyncio.run(runner.generate(load_recipe(recipe), out, sm=Counting(noted=asked)))
    except StorageError as error:
        said.write_text(str(error))
        return error.exit_code
    return 0 if outcome.ended == "goal" else 5


def strike(pid: int, call: str, fault: str, k: int) -> int:
    """Let a stopped child go under strace; its wait status."""
    os.waitpid(pid, os.WUNTRACED)
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{FAULTS[fault]}:when={k}",
         "-p", str(pid)],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    status = Path(f"/proc/{pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        time.sleep(0.005)
    os.kill(pid, signal.SIGCONT)
    _, ended = os.waitpid(pid, 0)
    tracer.wait()
    return ended


def rows(out: Path) -> list[str]:
    """Every committed row, sorted by id."""
    with RunFolder.read(out) as folder:
        kinds = ("accepted", "rejected", "duplicate", "failed")
        return sorted(json.dumps(row, sort_keys=True) for kind in kinds for row in folder.rows(kind))


class Sweep:
    """The points of one recipe, in a folder of their own."""

    def __init__(self, folder: Path, recipe: Path) -> None:
        self.folder = folder
        self.recipe = recipe
        self.asked = Asked()
        self.warm()
        self.calm = self.run("calm")
        self.expected = rows(self.calm)
        self.most = dict.fromkeys(CALLS, 0)
        """How many calls of each kind a run makes, roughly: found by the kills."""

    def warm(self) -> None:
        """Import what a run imports on its way, so that no victim has to."""
        said = self.folder / "modules"

        def look() -> int:
            code = sitting(self.recipe, self.folder / "warm", self.asked, self.folder / "said")
            said.write_text("\n".join(sys.modules))
            return code

        os.waitpid(fork(look, held=False), 0)
        for name in said.read_text().splitlines():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    def run(self, name: str) -> Path:
        """A run that nothing happens to."""
        out = self.folder / name
        pid = fork(lambda: sitting(self.recipe, out, self.asked, self.folder / "said"), held=False)
        if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise SystemExit(f"the run {name} ended with {code}")
        return out

    def point(self, call: str, fault: str, k: int) -> Point:
        """Strike once, resume, compare."""
        out, said = self.folder / "struck", self.folder / "said"
        for name in self.folder.glob(".struck*"):
            shutil.rmtree(name)
        shutil.rmtree(out, ignore_errors=True)
        said.unlink(missing_ok=True)
        self.asked.clear()
        code = os.waitstatus_to_exitcode(
            strike(fork(lambda: sitting(self.recipe, out, self.asked, said), held=True), call, fault, k)
        )
        found = Point(call, fault, k, struck=code != 0)
        if fault == "killed":
            expected = (0, -signal.SIGKILL)
        else:
            expected = (0, StorageError.exit_code)
            found.message = said.read_text() if said.exists() else ""
        if code not in expected:
            found.wrong = f"ended with {code}"
            return found
        self.run("struck")
        found.wasted = self.asked.again()
        found.wrong = self.compare(out)
        return found

    def compare(self, out: Path) -> str:
        """What is wrong with a resumed run."""
        ours = rows(out)
        if ours != self.expected:
            lost, more = len(set(self.expected) - set(ours)), len(ours) - len(set(ours))
            return f"{lost} rows lost or changed, {more} doubled"
        if problems := check(out):
            return f"{problems[0].where}: {problems[0].what}"
        with RunFolder.read(out) as folder:
            books = folder.accounting()
        return "" if sum(books.seeds.values()) == 12 else f"seeds: {books.seeds}"

    def points(self, every: int, faults: tuple[str, ...], seed: int) -> Iterator[Point]:
        """Kills at all calls, or at one in `every`, and errors at one in five of these."""
        rng = random.Random(seed)
        for fault in faults:
            step = every if fault == "killed" else 5 * every
            for call in CALLS:
                k, untouched = rng.randint(1, min(step, 6)), 0  # so that rare calls are struck as well
                while not untouched:
                    point = self.point(call, fault, k)
                    yield point
                    # An error that the run got over looks like one that did not come; a kill does not.
                    untouched = not point.struck and (fault == "killed" or k > self.most[call])
                    if fault == "killed":
                        self.most[call] = k
                    k += step


def main() -> None:
    """Sweep, say what happened, exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="one point in so many")
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=0, help="which of the points, with --every")
    parser.add_argument("--out", type=Path, help="a file for what came of every point, as JSON")
    options = parser.parse_args()
    if shutil.which("strace") is None:
        sys.exit("strace is not installed: it is what strikes")
    found: list[Point] = []
    with tempfile.TemporaryDirectory(prefix="understudy-sweep-") as name:
        sweep = Sweep(Path(name), project(Path(name)))
        for point in sweep.points(options.every, tuple(options.faults.split(",")), options.seed):
            found.append(point)
            if point.wrong:
                print(f"{point.fault} at {point.call} {point.k}: {point.wrong}", flush=True)
            elif sys.stderr.isatty() or len(found) % 25 == 0:
                print(f"{len(found)} points, last {point.fault} at {point.call} {point.k}", file=sys.stderr, flush=True)
    if options.out:
        options.out.write_text(json.dumps([asdict(point) for point in found]))
    struck = [point for point in found if point.struck]
    wrong = [point for point in found if point.wrong]
    wasted = max(point.wasted for point in found)
    print(f"{len(found)} points, {len(struck)} struck, {len(wrong)} wrong; at most {wasted} calls wasted")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
