"""Cut the power at any moment of a run: build what a disk may then hold, resume from it, and compare.

    python tests/faults/power.py                 every moment at which something was synced
    python tests/faults/power.py --every 20      one in twenty

One run is recorded by strace: every write, sync and change of a name, with its bytes. From the record follows what the
disk may hold if the power fails at a given moment: of each file what was synced, and of what was written since, nothing,
all, or any part (a write may be torn in two); of the names, those that the last sync made durable, or those of later,
since the journal of a file system keeps their order. (Pillai et al., All file systems are not created equal, OSDI 2014.)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import sweep

CALLS = "openat,pwrite64,write,lseek,fsync,fdatasync,rename,unlink,ftruncate,mkdir"
DATA = ("nothing", "some", "all")
"""Of what was written since a file was synced."""
NAMES = ("synced", "all")
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<(\S+)>)?")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_OPEN = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True)
class Op:
    """One call that changed the disk, or made a change durable."""

    kind: str
    path: str
    other: str = ""
    """New name of a rename."""
    offset: int = 0
    """Of a write; of a truncation, the new length."""
    data: bytes = b""


@dataclass
class Moment:
    """What came of a power cut."""

    op: int
    data: str
    names: str
    wrong: str = ""
    wasted: int = 0
    """SM calls that had been asked for, and were again."""


def record(folder: Path) -> tuple[list[Op], Path]:
    """The calls of one run into `folder`/struck."""
    recipe, log = sweep.project(folder), folder / "strace"
    code = "import sys; sys.path.insert(0, sys.argv[1]); import power; power.victim(*sys.argv[2:])"
    subprocess.run(
        ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(log), sys.executable, "-c", code,
         str(Path(__file__).parent), str(recipe), str(folder / "struck")],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return list(parse(log, folder)), recipe


class Writing(sweep.Asked):
    """Notes requests in a file, so that they stand in the record."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT)

    def add(self, seed: int) -> None:
        os.write(self._file, seed.to_bytes(8))


def victim(recipe: str, out: str) -> None:
    """The run that is recorded."""
    folder = Path(out).parent
    sys.exit(sweep.sitting(Path(recipe), Path(out), Writing(folder / "asked"), folder / "said"))


def parse(log: Path, folder: Path) -> Iterator[Op]:
    """The calls in a record that concern `folder`, in the order in which they ended."""
    begun: dict[str, str] = {}
    places: dict[int, int] = {}
    for raw in log.read_text().splitlines():
        thread, _, rest = raw.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[thread] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if rest.startswith("<..."):
            rest = begun.pop(thread) + rest.partition("resumed>")[2]
        found = _LINE.fullmatch(f"{thread} {rest.partition(' (')[0] if ') = ?' in rest else rest}")
        if found is None or int(found[4]) < 0:
            continue
        kind, told, result = found[2], found[3], int(found[4])
        texts = [_decode(text) for text in _TEXT.findall(told)]
        opened = _OPEN.match(told)
        path = os.fsdecode(_decode(opened[2])) if opened else ""
        if kind == "openat":
            places[result] = 0
            path = os.path.join(folder, os.fsdecode(texts[0]))
            if "O_CREAT" in told:
                yield Op("create", path)
            if "O_TRUNC" in told:
                yield Op("ftruncate", path)
        elif kind == "lseek" and opened:
            places[int(opened[1])] = result
        elif kind in ("write", "pwrite64") and opened:
            if kind == "write":
                offset = places.get(int(opened[1]), 0)
                places[int(opened[1])] = offset + result
            else:
                offset = int(told.rpartition(", ")[2])
            yield Op("write", path, offset=offset, data=texts[0][:result])
        elif kind == "ftruncate":
            yield Op("ftruncate", path, offset=int(told.rpartition(", ")[2]))
        elif kind in ("fsync", "fdatasync"):
            yield Op("sync", path)
        elif kind in ("rename", "unlink", "mkdir"):
            names = [os.path.join(folder, os.fsdecode(text)) for text in texts]
            yield Op(kind, *names)


def _decode(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class Disk:
    """What a disk may hold after the first calls of a record."""

    def __init__(self, ops: list[Op]) -> None:
        self.names: dict[str, int] = {}
        """Files by their paths; a folder is file 0."""
        self.synced_names: dict[str, int] = {}
        self.written: defaultdict[int, list[Op]] = defaultdict(list)
        self.synced: dict[int, int] = {}
        """How many of a file's writes are durable."""
        files = 0
        for op in ops:
            file = self.names.get(op.path)
            if op.kind == "create" and file is None:
                files += 1
                self.names[op.path] = files
            elif op.kind == "mkdir":
                self.names[op.path] = 0
            elif op.kind == "unlink":
                self.names.pop(op.path, None)
            elif op.kind == "rename":
                moved = [name for name in self.names if name == op.path or name.startswith(f"{op.path}/")]
                for name in moved:
                    self.names[op.other + name[len(op.path) :]] = self.names.pop(name)
            elif op.kind == "sync":
                if file:
                    self.synced[file] = len(self.written[file])
                self.synced_names = dict(self.names)
            elif file:
                self.written[file].append(op)

    def write(self, inside: Path, into: Path, data: str, names: str, rng: random.Random) -> None:
        """Make the folder `inside` anew as `into`."""
        for name, file in (self.synced_names if names == "synced" else self.names).items():
            if not name.startswith(f"{inside}/") or name.endswith("-shm"):  # SQLite makes its shared memory anew
                continue
            path = into / os.path.relpath(name, inside)
            if file == 0:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._content(file, data, rng))

    def _content(self, file: int, data: str, rng: random.Random) -> bytes:
        body = bytearray()
        for number, op in enumerate(self.written[file]):
            kept = op.data
            if number >= self.synced.get(file, 0):
                if data == "nothing" or (data == "some" and rng.random() < 0.4):
                    continue
                if data == "some" and rng.random() < 0.3:
                    kept = kept[: len(kept) // 2]
            if op.kind == "ftruncate":
                body[op.offset :] = bytes(max(0, op.offset - len(body)))
            else:
                body.extend(bytes(max(0, op.offset - len(body))))
                body[op.offset : op.offset + len(kept)] = kept
        return bytes(body)


class Cuts:
    """A recorded run, and the power cuts in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ops, self.recipe = record(folder)
        self.sweep = sweep.Sweep(folder, self.recipe)

    def moments(self, every: int, seed: int) -> Iterator[Moment]:
        """Before each sync, or one in `every` of them: that is where most is at stake."""
        rng = random.Random(seed)
        syncs = [number for number, op in enumerate(self.ops) if op.kind == "sync"]
        for number in syncs[rng.randrange(every) :: every]:
            for data in DATA:
                for names in NAMES:
                    yield self.cut(Moment(number, data, names), rng)

    def cut(self, moment: Moment, rng: random.Random) -> Moment:
        """Cut, resume, compare."""
        out = self.folder / "struck"
        for path in self.folder.glob(".struck*"):
            shutil.rmtree(path)
        shutil.rmtree(out, ignore_errors=True)
        Disk(self.ops[: moment.op]).write(out, out, moment.data, moment.names, rng)
        before = {op.data for op in self.ops[: moment.op] if op.path == str(self.folder / "asked") and op.data}
        self.sweep.asked.clear()
        try:
            self.sweep.run("struck")
        except SystemExit as ended:
            moment.wrong = str(ended)
            return moment
        moment.wasted = len(before & {seed.to_bytes(8) for seed in self.sweep.asked.seeds()})
        moment.wrong = self.sweep.compare(out)
        return moment


def main() -> None:
    """Cut, say what happened, exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="one moment in so many")
    parser.add_argument("--seed", type=int, default=0, help="which moments, with --every, and which writes are lost")
    parser.add_argument("--out", type=Path, help="a file for what came of every moment, as JSON")
    options = parser.parse_args()
    found: list[Moment] = []
    with tempfile.TemporaryDirectory(prefix="understudy-power-") as name:
        for moment in Cuts(Path(name)).moments(options.every, options.seed):
            found.append(moment)
            if moment.wrong:
                print(f"at {moment.op}, {moment.data} of the data, {moment.names} names: {moment.wrong}", flush=True)
    if options.out:
        options.out.write_text(json.dumps([asdict(moment) for moment in found]))
    wrong, wasted = sum(bool(moment.wrong) for moment in found), max(moment.wasted for moment in found)
    print(f"{len(found)} cuts, {wrong} wrong; at most {wasted} calls wasted")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
