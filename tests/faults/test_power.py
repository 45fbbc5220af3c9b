"""Power cuts, by a record of what a run wrote and synced; `make torture` makes them at every sync."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .power import Disk, Op

NAMES = {"synced": "none", "all": "all"}
POWER = Path(__file__).with_name("power.py")
RENAMED = [
    Op("mkdir", "/d"), Op("create", "/d/.tmp"), Op("write", "/d/.tmp", data=b"abcd"), Op("sync", "/d/.tmp"),
    Op("write", "/d/.tmp", offset=4, data=b"efgh"), Op("rename", "/d/.tmp", "/d/file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ops", "data", "names", "left"),
    [
        (RENAMED, "all", "all", {"file": b"abcdefgh"}),
        (RENAMED, "nothing", "all", {"file": b"abcd"}),
        (RENAMED, "nothing", "synced", {".tmp": b"abcd"}),
        (RENAMED[:3], "all", "synced", {}),
        ([*RENAMED, Op("sync", "/d")], "nothing", "synced", {"file": b"abcd"}),
        ([*RENAMED, Op("sync", "/d/file")], "nothing", "synced", {"file": b"abcdefgh"}),
        ([*RENAMED, Op("ftruncate", "/d/file", offset=2)], "all", "all", {"file": b"ab"}),
        ([*RENAMED, Op("unlink", "/d/file")], "all", "all", {}),
        ([*RENAMED, Op("unlink", "/d/file")], "all", "synced", {".tmp": b"abcdefgh"}),
    ],
)
def test_what_a_disk_may_hold(tmp_path: Path, ops: list[Op], data: str, names: str, left: dict[str, bytes]) -> None:
    Disk(ops).write(Path("/d"), tmp_path, data, names, random.Random(0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left


def test_some_of_the_data_is_any_part_of_what_was_not_synced(tmp_path: Path) -> None:
    seen = set()
    for seed in range(60):
        Disk(RENAMED).write(Path("/d"), tmp_path, "some", "all", random.Random(seed))
        seen.add((tmp_path / "file").read_bytes())
    assert seen == {b"abcd", b"abcdef", b"abcdefgh"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it is what records")
@pytest.mark.timeout(4 * 3600)
def test_a_run_whose_power_is_cut_is_resumed_as_if_nothing_had_happened(
    tmp_path: Path, fault: Callable[..., object]
) -> None:
    every, out = min(40, int(os.environ.get("UNDERSTUDY_SWEEP_EVERY", "200"))), tmp_path / "cuts.json"
    done = subprocess.run(
        [sys.executable, str(POWER), "--every", str(every), "--out", str(out)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    cuts = json.loads(out.read_text())
    assert max(cut["wasted"] for cut in cuts) <= 4  # the drafts under way
    for data, names in dict.fromkeys((cut["data"], cut["names"]) for cut in cuts):
        count = sum((cut["data"], cut["names"]) == (data, names) for cut in cuts)
        fault(f"power cut; of what was not synced, {data} of the data is there, {NAMES[names]} of the names", count)
