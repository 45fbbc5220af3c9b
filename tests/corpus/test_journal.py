import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import Journal, Ledger, RunFolder
from understudy.errors import EngineTransient, StorageError
from understudy.nouns import Call

Make = Callable[..., Any]


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    yield ledger
    ledger.close()


@pytest.fixture
async def journal(ledger: Ledger, tmp_path: Path):
    journal = Journal(ledger, tmp_path)
    yield journal
    await journal.aclose()


def engine(made: list[Call], call: Call, gate: asyncio.Event | None = None) -> Callable[[], Any]:
    async def make() -> Call:
        if gate:
            await gate.wait()
        made.append(call)
        return call

    return make


async def test_a_call_is_made_once_and_then_found(journal: Journal, call: Make):
    made: list[Call] = []
    for _ in range(3):
        assert await journal.call("k", engine(made, call("k"))) == call("k")
    assert len(made) == 1
    assert await journal.find("k") == call("k")
    assert await journal.find("other") is None


async def test_a_call_that_is_under_way_is_waited_for(journal: Journal, call: Make):
    made: list[Call] = []
    found = await asyncio.gather(*(journal.call("k", engine(made, call("k"))) for _ in range(20)))
    assert found == [call("k")] * 20
    assert len(made) == 1


async def test_calls_of_different_keys_are_all_made(journal: Journal, ledger: Ledger, call: Make):
    made: list[Call] = []
    found = await asyncio.gather(*(journal.call(f"k{n}", engine(made, call(f"k{n}"))) for n in range(50)))
    assert [c.key for c in found] == [f"k{n}" for n in range(50)]
    assert ledger.call_usage()[0].calls == 50


async def test_a_call_is_durable_before_its_reply_is_used(journal: Journal, ledger: Ledger, call: Make):
    await journal.call("k", engine([], call("k")))
    beside = sqlite3.connect(ledger.path)
    assert beside.execute("SELECT agent, prompt FROM calls").fetchall() == [("instruct/ask", 100)]
    beside.close()


async def test_a_call_that_another_sitting_made_costs_nothing(
    journal: Journal, ledger: Ledger, tmp_path: Path, call: Make
):
    await journal.call("k", engine([], call("k")))
    later = Journal(ledger, tmp_path)
    made: list[Call] = []
    assert await later.call("k", engine(made, call("k", reply="new"))) == call("k")
    assert made == []
    await later.aclose()


async def test_an_engine_error_reaches_all_who_wait_and_is_not_journaled(journal: Journal, call: Make):
    tries = []

    async def down() -> Call:
        tries.append(1)
        await asyncio.sleep(0.01)
        raise EngineTransient("down")

    found = await asyncio.gather(*(journal.call("k", down) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [EngineTransient] * 3
    assert len(tries) == 1
    assert await journal.find("k") is None
    assert await journal.call("k", engine([], call("k"))) == call("k")


async def test_a_full_disk_reaches_the_caller_and_the_next_call_can_be_journaled(
    journal: Journal, ledger: Ledger, call: Make, monkeypatch: pytest.MonkeyPatch
):
    def full(calls: list[Call]) -> None:
        raise StorageError("cannot write")

    monkeypatch.setattr(ledger, "add_calls", full)
    with pytest.raises(StorageError):
        await journal.call("k", engine([], call("k")))
    monkeypatch.undo()
    assert await journal.call("k", engine([], call("k"))) == call("k")
    assert await journal.find("k") == call("k")


async def test_a_caller_that_is_cancelled_while_writing_strands_nobody(
    journal: Journal, ledger: Ledger, call: Make, monkeypatch: pytest.MonkeyPatch
):
    written, free = threading.Event(), threading.Event()
    add_calls = ledger.add_calls

    def slowly(calls: list[Call]) -> None:
        written.set()
        free.wait(5)
        add_calls(calls)

    monkeypatch.setattr(ledger, "add_calls", slowly)
    gates = [asyncio.Event(), asyncio.Event()]
    one, two = (
        asyncio.create_task(journal.call(key, engine([], call(key), gate)))
        for key, gate in zip("ab", gates, strict=True)
    )
    await asyncio.sleep(0.05)
    gates[0].set()
    await asyncio.to_thread(written.wait, 5)
    gates[1].set()  # its call now waits behind the first one's write
    await asyncio.sleep(0.05)
    one.cancel()
    await asyncio.sleep(0.05)
    free.set()
    assert await asyncio.wait_for(two, 2) == call("b")
    assert await journal.find("b") == call("b")


async def test_after_a_commit_a_call_is_found_in_the_trace_segment(folder: RunFolder, call: Make, example: Make):
    journal = Journal(folder.ledger, folder.path)
    made = call("k", parent="before", error="truncated")
    await journal.call("k", engine([], made))
    seed, split = folder.seeds[0]
    await journal.run(folder.commit, [(0, example(seed, calls=("k",)))], {seed.id: (seed, split)}, [])
    assert folder.ledger.call("k") == (None, "traces/00000.parquet")
    assert (folder.path / "traces" / "00000.parquet").is_file()
    assert await journal.find("k") == made == folder.call("k")
    remade: list[Call] = []
    assert await journal.call("k", engine(remade, made)) == made
    assert remade == []
    await journal.aclose()
