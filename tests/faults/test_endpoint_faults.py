"""A run against an endpoint that fails in every way ends as if nothing had happened."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.errors import EngineTransient
from understudy.graphs import generate
from understudy.models import close_sms, open_sms, throttle
from understudy.models.sm import Request
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe
from understudy.sms import MAIN
from understudy.traces.flow import flows, plot

from .comparing import difference
from .failing_server import BODIES, STATUSES, FailingServer, Phase

BRIEF: tuple[Phase, ...] = ((0, 30, "ok"), (0.5, 4, "429"), (0, 3, "500"), (0, 3, "reset"), (0, 3, "hang"))
LONG: tuple[Phase, ...] = ((0, 30, "ok"), (30, 8, "429"), (0, 2, "500"), (0, 2, "reset"), (0, 2, "hang"))


async def run(
    project: Path, out: str, phases: tuple[Phase, ...] = (), once: tuple[str, ...] = (), **settings: Any
) -> FailingServer:
    async with FailingServer(phases, once=once) as server:
        sm = {
            "backend": "openai",
            "base_url": server.url,
            "model": "m",
            "timeout_s": 2,
            "max_concurrency": 8,
        } | settings
        recipe = load_recipe(project / "recipe.yaml", (f"sm={json.dumps(sm)}", "in_flight=16", "accept=24"))
        outcome = await generate(recipe, project / out)
        assert outcome.ended == "goal"
        assert sum(outcome.books.tokens_by_status.values()) == outcome.books.tokens
        assert not any("engine" in reason for reason in outcome.books.reasons)
    return server


def rows(project: Path, out: str) -> list[str]:
    with RunFolder.read(project / out) as folder:
        kinds = ("accepted", "rejected", "duplicate", "failed")
        return [json.dumps(row, sort_keys=True) for kind in kinds for row in folder.rows(kind)]


@pytest.mark.parametrize("phases", [BRIEF, pytest.param(LONG, marks=pytest.mark.slow)], ids=["brief", "30 s of 429"])
async def test_an_endpoint_that_fails_in_every_way_costs_no_example(
    project: Path, phases: tuple[Phase, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if phases is BRIEF:
        monkeypatch.setattr(throttle, "_LONGEST_PAUSE_S", 0.3)
    await run(project, "calm")
    server = await run(project, "stormy", phases)
    assert rows(project, "stormy") == rows(project, "calm")
    assert set(server.answered) == {"ok", "429", "500", "reset", "hang"}
    assert server.busiest <= 8
    with RunFolder.read(project / "stormy") as folder:
        (flow,) = flows(folder)
    assert {"429", "500", "connection", "timeout"} <= set(flow.troubles)
    assert max(flow.limit) == 8 and min(flow.limit) == 1
    # Half the requests or more may fail while nothing works, but a storm is not answered with a storm.
    assert sum(count for what, count in server.answered.items() if what != "ok") < server.answered["ok"]
    plot([flow], project / "flow.png")
    assert (project / "flow.png").stat().st_size > 10_000
    blocks, marks = flow.chart(60)
    assert len(blocks) == len(marks) == 60 and "×" in marks and "█" in blocks and "▁" in blocks


async def test_an_endpoint_that_stays_away_stops_the_run_and_the_next_one_goes_on(project: Path) -> None:
    with pytest.raises(EngineTransient, match="nothing succeeded for 1 s"):
        await run(project, "out", ((0, 30, "ok"), (600, 0, "500")), patience_s=1)
    await run(project, "out")
    await run(project, "calm")
    assert rows(project, "out") == rows(project, "calm")


WORDLESS = ("reset", "reset in the middle", "hang", "a byte now and then")
# One of each kind is quick enough for the fast tests.
QUICK = ("429", "an HTML page", "reset")


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=[] if what in QUICK else [pytest.mark.slow]) for what in (*STATUSES, *BODIES, *WORDLESS)],
)
async def test_a_third_of_all_requests_fail_at_their_first_try(
    project: Path, what: str, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., object]
) -> None:
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S", "LONGEST_RETRY_AFTER_S"):
        monkeypatch.setattr(throttle, name, 0.02)
    await run(project, "calm")
    server = await run(project, "stormy", once=(what,), timeout_s=0.4)
    assert server.answered[what] > 10
    kind = (
        f"HTTP {what}"
        if what in STATUSES
        else f"the endpoint answers {what}"
        if what in BODIES
        else f"connection: {what}"
    )
    fault(kind, server.answered[what], **difference(project / "stormy", project / "calm"))


async def ask(server: FailingServer, requests: int, at_once: int) -> float:
    """Ask an endpoint through its SM, and say in how many seconds all was answered."""
    remote = Recipe.model_validate(
        {
            "name": "r",
            "seeds": [{"path": "seeds"}],
            "accept": 1,
            "sm": {"backend": "openai", "base_url": server.url, "model": "m", "max_concurrency": at_once},
        }
    )
    sms = await open_sms(remote)
    began = time.monotonic()
    try:
        asked = (
            sms[MAIN].complete(Request(messages=({"role": "user", "content": f"What is {number}?"},), seed=number))
            for number in range(requests)
        )
        await asyncio.gather(*asked)
        seconds = time.monotonic() - began
        assert sms[MAIN].throttle is not None
        (lane,) = sms[MAIN].throttle.lanes
        assert lane.in_flight == 0
        return seconds
    finally:
        await close_sms(sms)


@pytest.mark.slow
async def test_a_third_of_256_at_once_fail_in_mixed_ways(fault: Callable[..., object]) -> None:
    requests = 2000
    calm, stormy = [], []
    for _ in range(2):  # in turns: the machine is not as fast at all times
        async with FailingServer(delay_s=0.2) as server:
            calm.append(await ask(server, requests, 256))
        async with FailingServer(delay_s=0.2, once=("500", "502", "reset", "nothing", "an HTML page")) as server:
            stormy.append(await ask(server, requests, 256))
        failed = sum(server.answered.values()) - server.answered["ok"]
        assert server.answered["ok"] == requests and failed > requests / 4
        assert server.busiest == 256
        fault("mixed failures of a third of 256 requests at once", failed)
    assert min(calm) / min(stormy) > 0.6  # of the tries, a quarter fails


@pytest.mark.slow
async def test_an_endpoint_with_room_for_fewer_is_kept_busy_and_not_flooded(fault: Callable[..., object]) -> None:
    requests, room = 3000, 64
    async with FailingServer(delay_s=0.2) as server:
        ideal = await ask(server, requests, room)
    async with FailingServer(delay_s=0.2, room=room) as server:
        found = await ask(server, requests, 256)
    assert server.answered["ok"] == requests and server.answered["429"] < 0.3 * requests
    assert ideal / found > 0.7
    fault("an endpoint has room for 64 of 256 requests", server.answered["429"])
