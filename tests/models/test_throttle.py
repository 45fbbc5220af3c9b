import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import EngineRefused, EngineTransient
from understudy.models import throttle
from understudy.models.throttle import Lane, Throttle, Ticket, Trouble
from understudy.sms import Remote


@pytest.fixture(autouse=True)
def brief_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(throttle, "_LONGEST_PAUSE_S", 0.016)
    monkeypatch.setattr(random, "uniform", lambda _, most: most)


def one(ceiling: int = 256) -> tuple[Throttle, Lane]:
    lane = Lane("a", ceiling)
    return Throttle([lane]), lane


class Crowd:
    """Requests that all want in; `let_in` tells which got in since it was last asked."""

    def __init__(self, throttle: Throttle, count: int) -> None:
        self.waiting = [asyncio.create_task(throttle.enter(0, "")) for _ in range(count)]

    async def let_in(self) -> list[Ticket]:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        inside = [task.result() for task in self.waiting if task.done()]
        self.waiting = [task for task in self.waiting if not task.done()]
        return inside

    async def disperse(self) -> None:
        for task in self.waiting:
            task.cancel()
        await asyncio.gather(*self.waiting, return_exceptions=True)


async def crowd(throttle: Throttle, count: int) -> tuple[Crowd, list[Ticket]]:
    made = Crowd(throttle, count)
    return made, await made.let_in()


async def opened(lane: Lane) -> None:
    await asyncio.sleep(max(0.0, lane.open_at - time.monotonic()) + 0.002)


async def test_the_limit_begins_at_the_ceiling_and_is_kept():
    throttle, lane = one(100)
    people, inside = await crowd(throttle, 500)
    assert len(inside) == 100 == lane.in_flight == throttle.slots
    await people.disperse()


async def test_after_trouble_the_limit_doubles_until_near_where_it_began_and_then_grows_slowly():
    throttle, lane = one(64)
    people, inside = await crowd(throttle, 500)
    for _ in range(3):  # 64, 32, 16 fail
        for ticket in inside:
            throttle.failed(ticket, "500")
        await opened(lane)
        inside = await people.let_in()
    limits = [len(inside)]
    for _ in range(4):
        for ticket in inside:
            throttle.succeeded(ticket)
        inside = await people.let_in()
        limits.append(len(inside))
    assert limits == [8, 16, 32, 56, 57] or limits == [8, 16, 32, 56, 56]
    await people.disperse()


@pytest.mark.parametrize(("limit", "threshold"), [(60, 52.5), (40, 20)], ids=["at its end", "on the way"])
async def test_where_trouble_begins_says_how_far_the_limit_grows_fast(limit: int, threshold: float):
    throttle, lane = one(64)
    lane.limit, lane.threshold = limit, 56
    people, inside = await crowd(throttle, 100)
    throttle.failed(inside[0], "429")
    assert (lane.limit, lane.threshold) == (limit / 2, threshold)
    await people.disperse()


async def test_the_limit_stays_while_fewer_are_sent_than_allowed():
    throttle, lane = one()
    _, inside = await crowd(throttle, 16)
    throttle.failed(inside[0], "429")
    for ticket in inside[1:]:
        throttle.succeeded(ticket)
    limit = lane.limit
    await opened(lane)
    for _ in range(100):
        _, few = await crowd(throttle, 3)
        for ticket in few:
            throttle.succeeded(ticket)
    assert lane.limit == limit


async def test_requests_that_fail_together_cut_the_limit_once():
    throttle, lane = one()
    _, inside = await crowd(throttle, 16)
    for ticket in inside:
        throttle.failed(ticket, "429")
    assert (lane.limit, lane.failures, lane.in_flight) == (8, 1, 0)
    assert [point.event for point in throttle.trace] == ["429"]


async def test_a_failure_after_the_cut_is_a_new_trouble_and_the_limit_never_falls_below_one():
    throttle, lane = one()
    limits = []
    for _ in range(6):
        people, inside = await crowd(throttle, 16)
        await people.disperse()
        for ticket in inside:
            throttle.failed(ticket, "500")
        limits.append(lane.limit)
        await opened(lane)
    assert limits == [8, 4, 2, 1, 1, 1]
    assert lane.failures == 6


async def test_the_cut_halves_what_was_under_way_where_that_is_less_than_the_limit():
    throttle, lane = one()
    _, (ticket, *rest) = await crowd(throttle, 6)
    throttle.failed(ticket, "500")
    assert lane.limit == 3
    for ticket in rest:
        throttle.leave(ticket)


async def test_after_trouble_the_limit_grows_by_one_for_each_round_of_replies():
    throttle, lane = one()
    _, inside = await crowd(throttle, 16)
    for ticket in inside:
        throttle.failed(ticket, "500")
    await opened(lane)
    people, inside = await crowd(throttle, 200)
    for grown in (8, 9, 10, 11):
        assert len(inside) in (grown - 1, grown) and grown - 0.5 < lane.limit <= grown
        for ticket in inside:
            throttle.succeeded(ticket)
        inside = await people.let_in()
    await people.disperse()
    for ticket in inside:
        throttle.leave(ticket)


@pytest.mark.parametrize(
    ("asked", "given"), [(0.06, 0.06), (0.0, 0.002), (10.0**9, throttle.LONGEST_RETRY_AFTER_S)],
    ids=["longer than our pause", "shorter than our pause", "absurd"],
)  # fmt: skip
async def test_an_endpoint_that_asks_for_time_is_given_it_within_reason(asked: float, given: float):
    throttle, lane = one()
    ticket = await throttle.enter(0, "")
    before = time.monotonic()
    throttle.failed(ticket, "429", asked)
    assert before + given <= lane.open_at <= time.monotonic() + given
    if given < 1:
        throttle.leave(await throttle.enter(0, ""))
        assert before + given <= time.monotonic() < before + given + 0.5
    throttle.close()


async def test_what_was_under_way_when_the_limit_was_cut_can_still_ask_for_time():
    throttle, lane = one()
    _, (first, second) = await crowd(throttle, 2)
    throttle.failed(first, "429")
    throttle.failed(second, "429", 50)
    assert lane.open_at > time.monotonic() + 49
    throttle.close()


async def test_pauses_double_up_to_the_longest_and_start_anew_after_a_success():
    throttle, lane = one()

    async def pause() -> float:
        ticket = await throttle.enter(0, "")
        before = time.monotonic()
        throttle.failed(ticket, "500")
        assert lane.open_at <= time.monotonic() + 0.016
        return lane.open_at - before

    pauses = [await pause() for _ in range(6)]
    for found, expected in zip(pauses, [0.002, 0.004, 0.008, 0.016, 0.016, 0.016], strict=True):
        assert expected <= found < expected + 0.002 or (found < 0.016 + 0.01 and expected == 0.016)
    throttle.succeeded(await throttle.enter(0, ""))
    assert await pause() < 0.004
    await opened(lane)


async def test_the_lowest_priority_goes_first_and_among_equals_who_came_first():
    throttle, _ = one(1)
    held = await throttle.enter(0, "")
    order: list[str] = []

    async def ask(name: str, priority: int) -> None:
        ticket = await throttle.enter(priority, "")
        order.append(name)
        throttle.succeeded(ticket)

    tasks = [asyncio.create_task(ask(name, int(name[0]))) for name in ("3", "1 a", "2", "1 b", "0", "1 c")]
    await asyncio.sleep(0)
    throttle.leave(held)
    await asyncio.gather(*tasks)
    assert order == ["0", "1 a", "1 b", "1 c", "2", "3"]


async def test_who_is_cancelled_while_waiting_takes_no_slot():
    throttle, lane = one(1)
    held = await throttle.enter(0, "")
    gone, stays = asyncio.create_task(throttle.enter(0, "")), asyncio.create_task(throttle.enter(1, ""))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    throttle.leave(held)
    throttle.leave(await stays)
    assert lane.in_flight == 0


async def test_who_is_cancelled_just_after_being_let_in_gives_the_slot_back():
    throttle, lane = one(1)
    held = await throttle.enter(0, "")
    gone, stays = asyncio.create_task(throttle.enter(0, "")), asyncio.create_task(throttle.enter(1, ""))
    await asyncio.sleep(0)
    throttle.leave(held)  # `gone` has its ticket now, and has not run since
    gone.cancel()
    assert isinstance((await asyncio.gather(gone, return_exceptions=True))[0], asyncio.CancelledError)
    throttle.leave(await asyncio.wait_for(stays, 1))
    assert lane.in_flight == 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "cancel", "succeed", "fail", "leave", "pass"]), st.integers(0, 40)),
    max_size=80,
)


@given(STEPS)
@settings(max_examples=60)
def test_whatever_happens_no_endpoint_gets_more_than_its_limit_and_no_slot_is_lost(steps: list[tuple[str, int]]):
    async def play() -> None:
        lanes = [Lane("a", 3), Lane("b", 2)]
        throttle = Throttle(lanes)
        pending: list[asyncio.Task[Ticket]] = []
        held: list[Ticket] = []
        cancelled: list[asyncio.Task[Ticket]] = []

        async def look(before: list[int]) -> None:
            for task in [task for task in pending if task.done()]:
                held.append(task.result())
                pending.remove(task)
            for lane, was in zip(lanes, before, strict=True):
                assert lane.in_flight >= 0 and (lane.in_flight <= int(lane.limit) or lane.in_flight <= was)
                assert 1 <= lane.limit <= lane.ceiling

        for step, which in steps:
            before = [lane.in_flight for lane in lanes]
            if step == "ask":
                pending.append(asyncio.create_task(throttle.enter(which % 3, str(which))))
            elif step == "cancel" and pending:
                cancelled.append(pending.pop(which % len(pending)))
                cancelled[-1].cancel()
            elif step == "pass":
                await asyncio.sleep(0)
            elif step in ("succeed", "fail", "leave") and held:
                ticket = held.pop(which % len(held))
                if step == "fail":
                    throttle.failed(ticket, "500")
                else:
                    (throttle.succeeded if step == "succeed" else throttle.leave)(ticket)
            await look(before)
        async with asyncio.timeout(5):
            while pending or held:
                while held:
                    throttle.leave(held.pop())
                await asyncio.sleep(0)
                await look([lane.in_flight for lane in lanes])
            await asyncio.gather(*cancelled, return_exceptions=True)
        assert all(task.cancelled() for task in cancelled)
        assert [lane.in_flight for lane in lanes] == [0, 0]
        throttle.close()

    with mock.patch.multiple(throttle, _FIRST_PAUSE_S=0.0):
        asyncio.run(play())


async def test_over_many_seeds_each_endpoint_gets_its_share_and_each_seed_its_endpoint():
    throttle = Throttle([Lane("a", 64, 1.0), Lane("b", 64, 2.0), Lane("c", 64, 5.0)])
    went: Counter[str] = Counter()
    for seed in range(4000):
        tickets = [await throttle.enter(0, f"seed {seed}") for _ in range(2)]
        assert tickets[0].lane is tickets[1].lane
        went[tickets[0].lane.name] += 1
        for ticket in tickets:
            throttle.leave(ticket)
    for name, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
        assert went[name] / 4000 == pytest.approx(share, abs=0.02)


async def test_an_endpoint_that_joins_takes_seeds_from_the_others_and_moves_none_between_them():
    async def where(*names: str) -> list[str]:
        throttle = Throttle([Lane(name, 64) for name in names])
        out = []
        for seed in range(300):
            ticket = await throttle.enter(0, str(seed))
            throttle.leave(ticket)
            out.append(ticket.lane.name)
        return out

    before, after = await where("a", "b"), await where("a", "b", "c")
    assert {new for old, new in zip(before, after, strict=True) if new != old} == {"c"}
    assert 60 < after.count("c") < 140


async def test_a_full_endpoint_hands_over_to_the_next_and_so_does_one_that_pauses():
    a, b = Lane("a", 2), Lane("b", 4)
    throttle = Throttle([a, b])
    favourite, other = (await throttle.enter(0, "x")).lane, None
    other = b if favourite is a else a
    favourite.limit = 1.0
    second = await throttle.enter(0, "x")
    assert second.lane is other
    throttle.leave(second)
    favourite.in_flight = 0
    favourite.open_at = time.monotonic() + 60
    assert (await throttle.enter(0, "x")).lane is other


LIMITS = Remote(retries=3, patience_s=0.15, timeout_s=5)


def sometimes(*outcomes: str) -> Callable[[Lane], Awaitable[str]]:
    """Each try ends as the next of the outcomes says, the last one for good."""
    left = list(outcomes)

    async def send(_: Lane) -> str:
        what = left.pop(0) if len(left) > 1 else left[0]
        if what != "ok":
            raise Trouble(what, f"got {what}")
        return what

    return send


async def busily(throttle: Throttle, seconds: float = 0.003) -> None:
    async def send(_: Lane) -> None:
        await asyncio.sleep(seconds)

    for turn in itertools.count(1):
        await throttle.persist(send, LIMITS, priority=turn)


@pytest.mark.parametrize("ceiling", [1, 2, 16])
@pytest.mark.parametrize("slow_s", [0.003, 0.04], ids=["brief replies", "long replies"])
async def test_a_request_that_fails_while_others_succeed_is_refused_and_the_others_go_on(ceiling: int, slow_s: float):
    throttle, lane = one(ceiling)
    working = [asyncio.create_task(busily(throttle, slow_s)) for _ in range(6)]
    await asyncio.sleep(0.01)
    with pytest.raises(EngineRefused, match=r"got 500 \(4 tries\)") as caught:
        async with asyncio.timeout(10):
            await throttle.persist(sometimes("500"), LIMITS, priority=0)
    assert caught.value.where == "a"
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in working)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    assert lane.in_flight == 0


async def test_a_request_that_fails_now_and_then_leaves_the_others_their_room():
    throttle, lane = one(16)
    tries: Counter[int] = Counter()

    def send_of(number: int) -> Callable[[Lane], Awaitable[int]]:
        async def send(_: Lane) -> int:
            await asyncio.sleep(0.001)
            tries[number] += 1
            if number % 3 == 0 and tries[number] == 1:
                raise Trouble(("500", "502", "connection", "not JSON")[number % 4], "lost")
            return number

        return send

    asked = [throttle.persist(send_of(number), LIMITS, priority=number) for number in range(300)]
    assert await asyncio.gather(*asked) == list(range(300))
    assert sum(tries.values()) == 400
    assert (lane.limit, lane.in_flight) == (16, 0)


async def test_where_most_requests_fail_the_limit_falls():
    throttle, lane = one(16)
    with pytest.raises(EngineTransient):
        calls = (throttle.persist(sometimes("500"), LIMITS, priority=number) for number in range(60))
        await asyncio.gather(*calls)
    assert lane.limit == 1


async def test_a_failure_for_want_of_room_is_everybodys():
    for event in ("429", "503", "timeout"):
        throttle, lane = one(16)
        throttle.succeeded(await throttle.enter(0, ""))
        await throttle.persist(sometimes(event, "ok"), LIMITS)
        assert lane.threshold < 16


async def test_pauses_of_an_endpoint_that_is_away_for_days_stay_finite():
    assert throttle._pause_s(100_000) == throttle._LONGEST_PAUSE_S


async def test_a_request_is_not_blamed_for_too_many_requests():
    throttle, _ = one(4)
    working = [asyncio.create_task(busily(throttle)) for _ in range(4)]
    assert await throttle.persist(sometimes(*["429"] * 12, "ok"), LIMITS.model_copy(update={"patience_s": 20})) == "ok"
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)


async def test_a_request_is_not_blamed_for_an_endpoint_that_is_down_for_everyone():
    throttle, _ = one(4)
    throttle.succeeded(await throttle.enter(0, ""))
    assert await throttle.persist(sometimes(*["500"] * 8, "ok"), LIMITS) == "ok"


async def test_a_request_is_not_blamed_for_one_endpoint_because_another_serves():
    down, up = Lane("down", 8), Lane("up", 8)
    throttle = Throttle([down, up])

    async def send(lane: Lane) -> str:
        await asyncio.sleep(0.002)
        if lane is down:
            raise Trouble("500", "got 500")
        return lane.name

    asked = (throttle.persist(send, LIMITS, priority=turn, affinity=str(turn)) for turn in range(200))
    assert set(await asyncio.gather(*asked)) == {"up"}


async def test_when_nothing_succeeds_for_the_patience_the_endpoint_is_to_blame():
    throttle, lane = one(4)
    started = time.monotonic()
    with pytest.raises(EngineTransient, match=r"nothing succeeded for 0.15 s: got 503") as caught:
        await throttle.persist(sometimes("503"), LIMITS)
    assert 0.15 < time.monotonic() - started < 2
    assert "nothing is lost" in str(caught.value.remedy)
    assert lane.in_flight == 0


async def test_time_in_which_nobody_asked_is_no_trouble():
    throttle, lane = one(4)
    impatient = asyncio.create_task(throttle.persist(sometimes("500"), LIMITS))
    await asyncio.sleep(0.02)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    await asyncio.sleep(0.2)
    assert await throttle.persist(sometimes("500", "ok"), LIMITS) == "ok"
    assert lane.in_flight == 0


async def test_a_try_that_takes_too_long_is_given_up_and_made_again():
    throttle, lane = one(4)
    tries = 0

    async def send(_: Lane) -> str:
        nonlocal tries
        tries += 1
        await asyncio.sleep(10 if tries == 1 else 0)
        return "ok"

    assert await throttle.persist(send, Remote(timeout_s=0.05)) == "ok"
    assert [point.event for point in throttle.trace] == ["timeout"]
    assert lane.in_flight == 0


@pytest.mark.parametrize("error", [EngineRefused("no"), ZeroDivisionError()], ids=["refused", "a bug"])
async def test_a_request_that_is_refused_gives_its_slot_back_and_says_nothing_of_the_endpoint(error: Exception):
    throttle, lane = one(4)

    async def send(_: Lane) -> None:
        raise error

    with pytest.raises(type(error)):
        await throttle.persist(send, LIMITS)
    assert (lane.in_flight, lane.limit, lane.failures, throttle.trace) == (0, 4, 0, [])


async def test_a_closed_throttle_cancels_who_waits_and_leaves_no_timer():
    throttle, lane = one(1)
    ticket = await throttle.enter(0, "")
    waiting = asyncio.create_task(throttle.enter(0, ""))
    await asyncio.sleep(0)
    throttle.failed(ticket, "429", 100)
    throttle.close()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
    assert lane.reopening is not None and lane.reopening.cancelled()


async def test_the_trace_notes_every_trouble_and_few_of_the_successes():
    throttle, _ = one(4)
    for _ in range(500):
        throttle.succeeded(await throttle.enter(0, ""))
    assert len(throttle.trace) < 10
    held = await throttle.enter(0, "")
    throttle.failed(await throttle.enter(0, ""), "500")
    point = throttle.trace[-1]
    assert (point.endpoint, point.limit, point.in_flight, point.event) == ("a", 1, 2, "500")
    assert abs(point.at - time.time()) < 5
    throttle.leave(held)
    throttle.close()


async def test_a_trace_that_grows_long_is_thinned_and_keeps_its_span(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "_TRACE_POINTS", 64)
    found, _ = one(4)
    found._every_s = 0.0
    first = None
    for _ in range(1000):
        found.succeeded(await found.enter(0, ""))
        found._noted_at = 0.0
        first = first or found.trace[0]
        assert len(found.trace) <= 64
    assert found.trace[0] is first
    assert [point.at for point in found.trace] == sorted(point.at for point in found.trace)
