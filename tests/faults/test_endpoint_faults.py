"""A run against an endpoint that fails in every way ends as if nothing had happened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.errors import EngineTransient
from understudy.graphs import generate
from understudy.models import throttle
from understudy.recipe_file import load_recipe
from understudy.traces.flow import flows, plot

from .comparing import difference
from .failing_server import BODIES, STATUSES, FailingServer, Phase

BRIEF: tuple[Phase, ...] = ((0, 30, "ok"), (0.5, 4, "429"), (0, 3, "500"), (0, 3, "reset"), (0, 3, "hang"))
LONG: tuple[Phase, ...] = ((0, 30, "ok"), (30, 8, "429"), (0, 2, "500"), (0, 2, "reset"), (0, 2, "hang"))


async def run(
    project: Path, out: str, phases: tuple[Phase, ...] = (), once: str | None = None, **settings: Any
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


@pytest.mark.parametrize("what", [*STATUSES, *BODIES, *WORDLESS])
async def test_a_third_of_all_requests_fail_at_their_first_try(
    project: Path, what: str, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., object]
) -> None:
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S", "LONGEST_RETRY_AFTER_S"):
        monkeypatch.setattr(throttle, name, 0.02)
    await run(project, "calm")
    server = await run(project, "stormy", once=what, timeout_s=0.4)
    assert server.answered[what] > 10
    kind = (
        f"HTTP {what}"
        if what in STATUSES
        else f"the endpoint answers {what}"
        if what in BODIES
        else f"connection: {what}"
    )
    fault(kind, server.answered[what], **difference(project / "stormy", project / "calm"))
