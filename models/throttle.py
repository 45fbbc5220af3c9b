"""How many requests each endpoint is given at once, found out while running.

An endpoint's limit begins at its ceiling. Trouble halves it, once for all the requests that were under way
together; when replies come again it grows by one for each, until it is near where the trouble began (half of that
if it began on the way there), and from there by one for each limit's worth of them (additive increase,
multiplicative decrease: Chiu and Jain 1989; the threshold: Jacobson 1988, set nearer as by Ha, Rhee and Xu 2008,
for else a quarter of what the endpoint can take lies idle). After trouble nothing is sent for a while: as long as
the endpoint's Retry-After says, else a pause that doubles until something succeeds. A request that fails while most
others succeed, and not for want of room, pauses alone: to send less would not help it, and an endpoint that loses
one answer in twenty would hardly be used. Requests wait here, not at the endpoint, those of the earliest drafts
first.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from understudy.errors import EngineRefused, EngineTransient
from understudy.sms import Remote

T = TypeVar("T")
# HTTP statuses worth another try: timeouts, conflicts, too many requests; 5xx are as well.
TRANSIENT = frozenset({408, 409, 425, 429})
# What an endpoint says or does that has too much to do.
_OVERLOAD = frozenset({"408", "429", "503", "504", "529", "timeout"})
# Where more of the recent answers than this fail, all are taken for one trouble. Recent are as many as are under way
# together, for failures come sooner than replies, but at least so many.
_MANY_FAIL = 0.5
_FEWEST_RECENT = 32
# How near, as a share.
_NEAR = 0.875
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0
# An endpoint that asks to be left alone for longer is asked again all the same.
LONGEST_RETRY_AFTER_S = 120.0
# The trace of a run of days must not grow without end: it is thinned when it is as long as this.
_TRACE_POINTS = 4096


class Trouble(Exception):
    """One request failed in a way that may pass."""

    def __init__(self, event: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.event = event
        """What went wrong in a word, such as `429` or `timeout`."""
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of an endpoint's trace."""

    at: float
    """Seconds since the epoch."""
    endpoint: str
    limit: int
    in_flight: int
    waiting: int
    event: str | None
    """What went wrong, such as `429` or `timeout`; None when nothing did."""


@dataclass(slots=True, eq=False)
class Lane:
    """What is known of one endpoint."""

    name: str
    ceiling: int
    weight: float = 1.0
    limit: float = 0.0
    in_flight: int = 0
    threshold: float = 0.0
    """Below it the limit grows fast again."""
    failures: int = 0
    """Troubles in a row."""
    failing: float = 0.0
    """Share of the recent tries that failed."""
    cut_at: float = 0.0
    open_at: float = 0.0
    """When requests may be sent again, on the monotonic clock."""
    success_at: float = 0.0
    reopening: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.limit = self.threshold = float(self.ceiling)

    def has_room(self, now: float) -> bool:
        """Whether one more request may be sent."""
        return self.in_flight < int(self.limit) and now >= self.open_at

    def note_outcome(self, failed: float) -> None:
        """One more try has failed (1) or not (0)."""
        self.failing += (failed - self.failing) / max(_FEWEST_RECENT, self.limit)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one request."""

    lane: Lane
    sent_at: float


@dataclass(slots=True)
class Throttle:
    """The endpoints of one SM, and the requests that wait for them; used from one event loop."""

    lanes: list[Lane]
    trace: list[Point] = field(default_factory=list)
    _waiting: list[tuple[int, int, str, asyncio.Future[Ticket]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _every_s: float = 0.25
    _noted_at: float = 0.0
    troubled_since: float | None = None
    """When the first of the present troubles began, on the monotonic clock; None while something succeeds, or nobody
    asks."""
    _asking: int = 0

    @property
    def slots(self) -> int:
        """How many requests the endpoints are given at once just now."""
        return sum(int(lane.limit) for lane in self.lanes)

    async def persist(
        self, send: Callable[[Lane], Awaitable[T]], limits: Remote, *, priority: int = 0, affinity: str = ""
    ) -> T:
        """Send a request, and again after trouble.

        A request that fails while others succeed is to blame itself, and is refused after `retries` further tries;
        when nothing succeeds the endpoint is to blame, and everything waits for it. So that others can succeed, a
        request that has failed lets some go first, twice as many after each failure.

        Args:
            send: one try, at the endpoint it is given; raises `Trouble` for what may pass.
            limits: how long one try may take, and how long to go on.
            priority: of requests that wait, the lowest goes first.
            affinity: see `enter`.

        Raises:
            EngineRefused: when the request is to blame.
            EngineTransient: when nothing has succeeded for `patience_s`.
        """
        self._asking += 1
        try:
            return await self._persist(send, limits, priority, affinity)
        finally:
            self._asking -= 1
            if not self._asking:
                self.troubled_since = None

    async def _persist(self, send: Callable[[Lane], Awaitable[T]], limits: Remote, priority: int, affinity: str) -> T:
        failures = blamed = behind = 0
        failed_at: dict[Lane, float] = {}
        while True:
            ticket = await self.enter(priority + behind, affinity)
            lane = ticket.lane
            try:
                async with asyncio.timeout(limits.timeout_s):
                    answer = await send(lane)
            except (Trouble, TimeoutError) as error:
                trouble = error if isinstance(error, Trouble) else _late(limits.timeout_s)
                others_pass = lane.success_at > failed_at.get(lane, ticket.sent_at)
                failed_at[lane] = time.monotonic()
                if trouble.event != "429":
                    blamed += others_pass
                    behind = 2 * behind or 1
                failures += 1
                alone = trouble.event not in _OVERLOAD and lane.failing < _MANY_FAIL
                self.failed(ticket, trouble.event, trouble.retry_after_s, alone)
                if blamed > limits.retries:
                    raise EngineRefused(f"{trouble} ({blamed} tries)", where=lane.name) from error
                since = self.troubled_since
                if since is not None and time.monotonic() - since > limits.patience_s:
                    raise EngineTransient(
                        f"nothing succeeded for {limits.patience_s:g} s: {trouble}",
                        where=lane.name,
                        remedy="run the same command again when it is back: nothing is lost",
                    ) from error
                if alone:
                    await asyncio.sleep(_pause_s(failures))
            except BaseException:
                self.leave(ticket)
                raise
            else:
                self.succeeded(ticket)
                return answer

    async def enter(self, priority: int, affinity: str) -> Ticket:
        """Wait until some endpoint has room.

        Args:
            priority: the lowest goes first; among equals, who came first.
            affinity: requests of the same affinity go to the same endpoint while it has room, so that what their
                prompts share is in its prefix cache; over all, each endpoint gets its weight's share.
        """
        ready: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), affinity, ready))
        self._dispatch()
        try:
            return await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():  # cancelled just after it was let in
                self.leave(ready.result())
            raise

    def leave(self, ticket: Ticket) -> None:
        """The request ended and says nothing of the endpoint: refused, or cancelled."""
        ticket.lane.in_flight -= 1
        self._dispatch()

    def succeeded(self, ticket: Ticket) -> None:
        """A reply came: the endpoint can take a little more."""
        lane = ticket.lane
        lane.success_at = time.monotonic()
        lane.failures = 0
        lane.note_outcome(0.0)
        self.troubled_since = None
        # More than it is asked for says nothing of what it could take.
        if lane.in_flight >= int(lane.limit):
            lane.limit = min(lane.ceiling, lane.limit + (1 if lane.limit < lane.threshold else 1 / lane.limit))
        self._note(lane, None)
        self.leave(ticket)

    def failed(self, ticket: Ticket, event: str, retry_after_s: float | None = None, alone: bool = False) -> None:
        """The endpoint is in trouble: halve its limit and pause; not if the request is alone in it."""
        lane, now = ticket.lane, time.monotonic()
        lane.note_outcome(1.0)
        self.troubled_since = self.troubled_since or now
        if alone:
            self._note(lane, event)
        elif ticket.sent_at >= lane.cut_at:  # else it was under way at the cut: the same trouble
            most = min(lane.limit, lane.in_flight)
            lane.limit = max(1.0, most / 2)
            if not lane.failures:
                lane.threshold = max(1.0, most * (_NEAR if most >= lane.threshold else 0.5))
            lane.cut_at = now
            lane.failures += 1
            self._note(lane, event)
            lane.open_at = max(lane.open_at, now + _pause_s(lane.failures))
        if retry_after_s is not None:
            lane.open_at = max(lane.open_at, now + min(retry_after_s, LONGEST_RETRY_AFTER_S))
        if lane.reopening is not None:
            lane.reopening.cancel()
        lane.reopening = asyncio.get_running_loop().call_later(max(0.0, lane.open_at - now), self._dispatch)
        self.leave(ticket)

    def close(self) -> None:
        """Stop the timers; whoever still waits is cancelled."""
        for lane in self.lanes:
            if lane.reopening is not None:
                lane.reopening.cancel()
        for *_, ready in self._waiting:
            ready.cancel()
        self._waiting.clear()

    def _dispatch(self) -> None:
        now = time.monotonic()
        while self._waiting:
            free = [lane for lane in self.lanes if lane.has_room(now)]
            if not free:
                return
            _, _, affinity, ready = heapq.heappop(self._waiting)
            if ready.done():  # cancelled while it waited
                continue
            lane = free[0] if len(free) == 1 else max(free, key=lambda lane: _liking(affinity, lane))
            lane.in_flight += 1
            ready.set_result(Ticket(lane, now))

    def _note(self, lane: Lane, event: str | None) -> None:
        now = time.time()
        if event is None and now - self._noted_at < self._every_s:
            return
        self._noted_at = now
        self.trace.append(Point(now, lane.name, int(lane.limit), lane.in_flight, len(self._waiting), event))
        if len(self.trace) > _TRACE_POINTS:
            self.trace[:] = [point for place, point in enumerate(self.trace) if point.event or not place % 2]
            self._every_s *= 2


def parse_retry_after(value: str | None) -> float | None:
    """Seconds, from a Retry-After header that is a number or a date; None where it says nothing sensible."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return seconds if 0 <= seconds < float("inf") else None


def _pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 60)) * random.uniform(0.5, 1)  # noqa: S311


def _late(timeout_s: float) -> Trouble:
    return Trouble("timeout", f"no reply within {timeout_s:g} s")


def _liking(affinity: str, lane: Lane) -> float:
    """Weighted rendezvous hashing (Schindelhauer and Schomaker 2005): the highest wins in proportion to weight."""
    digest = hashlib.blake2b(f"{affinity}\0{lane.name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return -lane.weight / math.log((int.from_bytes(digest) + 1) / (2**64 + 2))
