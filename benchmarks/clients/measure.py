"""Runs one client over one job and writes down what it took; started by `overhead.py`, a process for each run.

    python -P measure.py <client file> <job.json> <result.json>

A client is a file with `PACKAGE`, the distribution whose version is reported, and `prepare(job)`. That imports what
the client needs and returns `go(seeds, folder)`, which takes the seeds of a .jsonl file through the three calls,
writes its rows under the folder and returns their number. `go` is called twice: over a few seeds first, so that
what libraries import and set up at first use is not counted, then over all of them, measured.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import resource
import sys
import time
import urllib.request
from pathlib import Path
from types import ModuleType

import psutil


def cpu_seconds() -> float:
    """User and system seconds so far of this process and all it has started, ended or not."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])  # user, system, and both of its own ended children
        except psutil.Error:
            continue
    return total


def load(path: Path) -> ModuleType:
    """A client's file as a module, under a name that hides no package."""
    spec = importlib.util.spec_from_file_location(f"client_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"no client in {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def main(client: Path, job_file: Path, result: Path) -> None:
    """Warm up, start the server's counts anew, measure."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    module = load(client)
    go = module.prepare(job)
    go(Path(job["warm_up"]), Path(job["folder"]) / "warm-up")
    reset = urllib.request.Request(job["server"] + "/reset", method="POST")  # noqa: S310
    urllib.request.urlopen(reset, timeout=30).close()  # noqa: S310
    before, start = cpu_seconds(), time.perf_counter()
    rows = go(Path(job["seeds"]), Path(job["folder"]) / "run")
    seconds, used = time.perf_counter() - start, cpu_seconds() - before
    measured = {
        "run_s": round(seconds, 4),
        "cpu_s": round(used, 4),
        "rows": rows,
        "version": importlib.metadata.version(module.PACKAGE),
        "python": platform.python_version(),
    }
    result.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
