"""Two owners, a clock that jumps, a process that dies between two steps of a commit."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import Ledger, rows
from understudy.errors import RunFolderError, UserError
from understudy.graphs import generate, runner, shards
from understudy.models import Scripted
from understudy.models.sm import Reply, Request
from understudy.recipe_file import load_recipe

from .comparing import difference

Fault = Callable[..., object]


class Died(BaseException):
    """Stands for the end of the process: nothing catches it, and nothing after it happens."""


class Counting(Scripted):
    """Remembers how often it was asked."""

    made: Any  # pydantic would copy a list
    last: int = 10**9
    """The request from which on it answers no more."""

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self.made.append(1)
        if len(self.made) >= self.last:
            await asyncio.sleep(3600)
        return await super().complete(request)


async def run(project: Path, out: str, made: list[int] | None = None, *sets: str, last: int = 10**9) -> runner.Outcome:
    recipe = load_recipe(project / "recipe.yaml", ("accept=12", *sets))
    return await generate(recipe, project / out, sm=Counting(made=[] if made is None else made, last=last))


@pytest.mark.parametrize(
    ("step", "fault_name"),
    [
        ("rename", "killed between a shard's files and the ledger"),
        ("commit", "killed just before the ledger's transaction"),
        ("after", "killed between the transaction and its acknowledgement"),
    ],
)
async def test_a_process_that_dies_within_a_commit(
    project: Path, step: str, fault_name: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_DRAFTS", 6)
    calm: list[int] = []
    await run(project, "calm", calm)
    made: list[int] = []
    with monkeypatch.context() as patch:
        entered = Ledger.commit
        renamed = rows.write

        def dies_between(*args: Any) -> Any:
            file = renamed(*args)
            if file.name.startswith("traces/"):
                raise Died
            return file

        def dies(self: Ledger, *args: Any) -> None:
            if step == "after":
                entered(self, *args)
            raise Died

        if step == "rename":
            patch.setattr(rows, "write", dies_between)
        else:
            patch.setattr(Ledger, "commit", dies)
        with pytest.raises(Died):
            await run(project, "struck", made)
    await run(project, "struck", made)
    # What was journaled before the end is not asked for again; drafts under way were cut off by it.
    assert len(made) - len(calm) <= 8
    fault(fault_name, **difference(project / "struck", project / "calm"))


def test_a_second_process_is_told_who_owns_the_run(project: Path, fault: Fault) -> None:
    command = [
        str(Path(sys.executable).with_name("understudy")),
        "run",
        str(project / "recipe.yaml"),
        "--out",
        str(project / "out"),
    ]
    slow = ["--set", 'sm={"backend": "scripted", "delay_s": 2}', "--set", "accept=900", "--set", "draws_per_seed=900"]
    first = subprocess.Popen([*command, *slow], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (project / "out" / "ledger.db").exists():
            assert first.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        second = subprocess.run([*command, *slow], capture_output=True, text=True, check=False)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert second.returncode == 2
    assert f"in use by process {first.pid} on " in second.stderr and "since" in second.stderr
    fault("a second process on the same run", message=second.stderr.partition("\n")[0].replace(str(first.pid), "4242"))
    third = subprocess.run([*command, "--set", "accept=2"], capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr
    fault("the owner was killed and left its lock")


@pytest.mark.parametrize("jump", [86_400, -86_400], ids=["a day on", "a day back"])
async def test_a_clock_that_jumps_changes_nothing(
    project: Path, jump: int, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(project, "calm")
    now, asked = time.time, [0]

    def jumping() -> float:
        asked[0] += 1
        return now() + (jump if asked[0] % 2 else 0)

    monkeypatch.setattr(time, "time", jumping)
    assert (await run(project, "struck", None, "budget.seconds=600")).ended == "goal"
    monkeypatch.undo()
    fault(
        f"the clock jumps {'a day on' if jump > 0 else 'a day back'}",
        **difference(project / "struck", project / "calm"),
    )


async def test_a_changed_recipe_is_refused_with_every_key_that_differs(project: Path, fault: Fault) -> None:
    await run(project, "out")
    with pytest.raises(RunFolderError) as caught:
        await run(project, "out", None, "refine_rounds=0", "seed=7")
    assert "refine_rounds: 1 -> 0" in caught.value.message and "seed: 0 -> 7" in caught.value.message
    fault("resumed with another recipe", message=caught.value.message)
    outcome = await run(project, "out", None, "in_flight=2", "budget.tokens=1000000")
    assert (outcome.ended, outcome.calls_made) == ("goal", 0)
    fault("resumed with other concurrency and limits")


async def test_cancelling_the_run_from_outside_leaves_a_corpus_that_goes_on(project: Path, fault: Fault) -> None:
    await run(project, "calm")
    made: list[int] = []
    task = asyncio.create_task(run(project, "struck", made, last=30))
    while len(made) < 30:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await run(project, "struck")
    fault("the run's task is cancelled", **difference(project / "struck", project / "calm"))


async def test_a_folder_that_cannot_be_written_is_told_before_anything_is_asked(project: Path, fault: Fault) -> None:
    (project / "file").write_text("in the way")
    made: list[int] = []
    with pytest.raises(UserError) as caught:
        await run(project, "file", made)
    assert made == []
    fault("the output folder is a file", message=str(caught.value).partition("\n")[0])
