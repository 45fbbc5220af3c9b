"""A process that can be killed: imports once, then runs one recipe per line of its input, each in a fork.

A line is `RECIPE OUT KILL_AFTER_S` with KILL_AFTER_S `-` for a run that may finish. Each answer is one JSON
line. Forking spares the seconds that importing takes, and every run is still a process of its own that dies
by SIGKILL, with no chance to tidy up.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from understudy.graphs import run
from understudy.recipe_file import load_recipe


def child(recipe: str, out: str, report: int) -> None:
    """Run to the end and write what happened."""
    outcome = run(load_recipe(recipe), Path(out))
    os.write(report, json.dumps({"ended": outcome.ended, "calls_made": outcome.calls_made}).encode())


for line in sys.stdin:
    recipe, out, kill_after = line.split()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child(recipe, out, writing)
            os._exit(0)
        except BaseException as error:
            os.write(writing, json.dumps({"error": repr(error)}).encode())
            os._exit(1)
    os.close(writing)
    if kill_after != "-":
        time.sleep(float(kill_after))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    said = os.read(reading, 65536)
    os.close(reading)
    print(
        json.dumps({"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, **json.loads(said or b"{}")}),
        flush=True,
    )
