"""Calls to the SMs: journaled, keyed, seeded, and within the budget."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from understudy.corpus.ledger import Usage
from understudy.corpus.tokens import count_tokens
from understudy.errors import EngineRefused
from understudy.models.sm import SM, Constraint, Request
from understudy.nouns import Call, Messages, address
from understudy.prompt import Sampling
from understudy.sms import Priced, Voice


class BudgetReached(Exception):
    """The next call would not fit the budget; the run ends with what it has."""


@dataclass(slots=True)
class Budget:
    """What may be spent, and what has been: tokens spent never pass the limit."""

    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None
    spent_tokens: int = 0
    reserved_tokens: int = 0
    reserved_money: float = 0.0
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def reserve(self, tokens: int, money: float = 0.0, spent_money: float = 0.0) -> None:
        """Set aside what a call may take, of what is left.

        Raises:
            BudgetReached: when it is not there.
        """
        if self.tokens is not None and self.spent_tokens + self.reserved_tokens + tokens > self.tokens:
            raise BudgetReached(f"{self.tokens:,} tokens")
        if self.seconds is not None and time.monotonic() - self.started > self.seconds:
            raise BudgetReached(f"{self.seconds:g} seconds")
        if self.money is not None and spent_money + self.reserved_money + money > self.money:
            raise BudgetReached(f"{self.money:g} in money")
        self.reserved_tokens += tokens
        self.reserved_money += money

    def release(self, tokens: int, money: float = 0.0) -> None:
        """Give back what was set aside: the call was paid, or it failed."""
        self.reserved_tokens -= tokens
        self.reserved_money -= money


@dataclass(slots=True)
class Tally:
    """What one SM has done, in all sittings."""

    prompt: int = 0
    completion: int = 0
    busy_s: float = 0.0
    """Seconds in which at least one request was under way."""
    _under_way: int = 0
    _since: float = 0.0

    def enter(self) -> None:
        """A request is sent."""
        if not self._under_way:
            self._since = time.monotonic()
        self._under_way += 1

    def leave(self) -> None:
        """It is answered, or given up."""
        self._under_way -= 1
        if not self._under_way:
            self.busy_s += time.monotonic() - self._since

    @property
    def worked_s(self) -> float:
        """`busy_s` up to now."""
        return self.busy_s + (time.monotonic() - self._since if self._under_way else 0.0)


class Calls(Protocol):
    """What a caller wants of the journal."""

    async def call(self, key: str, make: Callable[[], Awaitable[Call]]) -> Call:
        """The call under `key`; it is made if it has to be."""
        ...


class Caller:
    """Makes the agents' calls to the SMs of a recipe, by their names there."""

    def __init__(
        self,
        sms: Mapping[str, SM],
        journal: Calls,
        budget: Budget,
        run_seed: int,
        prices: Mapping[str, Priced] | None = None,
    ) -> None:
        self.sms = sms
        self.prices = {name: Priced() for name in sms} | dict(prices or {})
        self.budget = budget
        self.made = 0
        """Calls that went to an engine in this sitting, replayed ones not counted."""
        self.answered = 0
        """Calls that were paid for, in all sittings."""
        self.generated_tokens = 0
        """In this sitting."""
        self.first_paid: int | None = None
        """The first turn that an engine was asked for in this sitting."""
        self.tallies = {name: Tally() for name in sms}
        self._adapted: dict[tuple[str, str], SM] = {}
        self._journal = journal
        self._run_seed = run_seed

    @property
    def spent_money(self) -> float:
        """What the SMs have cost in all sittings."""
        return sum(
            self.prices[name].money(tally.prompt, tally.completion, tally.worked_s)
            for name, tally in self.tallies.items()
        )

    def resume(self, usage: Iterable[Usage], busy: Mapping[str, float]) -> None:
        """Take over what earlier sittings spent, as `Ledger.call_usage` and `Ledger.busy` tell it."""
        for name, seconds in busy.items():
            self.tallies.setdefault(name, Tally()).busy_s = seconds
        for used in usage:
            self.answered += used.calls - used.reused
            self._count(used.sm, used.prompt_tokens, used.completion_tokens)

    def speaker(self, voice: Voice) -> SM:
        """The SM of a voice, seen through its adapter where it has one.

        Raises:
            ModelError: when the SM has no such adapter.
        """
        if voice.adapter is None:
            return self.sms[voice.sm]
        key = (voice.sm, voice.adapter)
        if key not in self._adapted:
            self._adapted[key] = self.sms[voice.sm].adapted(voice.adapter)
        return self._adapted[key]

    def _count(self, name: str, prompt: int, completion: int) -> None:
        tally = self.tallies.setdefault(name, Tally())
        tally.prompt += prompt
        tally.completion += completion
        self.budget.spent_tokens += prompt + completion

    def _most(self, messages: Messages, sampling: Sampling, voice: Voice) -> tuple[int, float]:
        """The most tokens and money that a call may take; nothing where nothing is limited."""
        if self.budget.tokens is None and self.budget.money is None:
            return 0, 0.0
        # The estimate is of the text; chat templates and unusual scripts need the margin.
        prompt = round(sum(count_tokens(message["content"]) for message in messages) * 1.5) + 64
        return prompt + sampling.max_tokens, self.prices[voice.sm].money(prompt, sampling.max_tokens)

    async def call(
        self,
        agent: str,
        messages: Messages,
        sampling: Sampling,
        constraint: Constraint | None,
        sample: tuple[int, ...],
        parent: str | None,
        voice: Voice = Voice(),  # noqa: B008
        priority: int = 0,
    ) -> Call:
        """One call, from the journal if it is there.

        Args:
            agent: who asks, as `family/name`; for the record, not part of the key.
            messages: the whole prompt.
            sampling: how the reply is drawn, unless the voice has it otherwise.
            constraint: what it must look like; dropped where the engine cannot hold it.
            sample: which draw of its seed, which try, and which of several replies this is: part of the key, so that
                two draws differ.
            parent: key of the call this one builds on.
            voice: which SM is asked, and how.
            priority: the draft's turn; of calls that wait for the engine, those with the lowest go first.

        Raises:
            BudgetReached: before anything is sent.
            EngineTransient, EngineRefused: from the engine; nothing is then journaled.
        """
        sm = self.speaker(voice)
        own = voice.model_dump(exclude={"sm", "adapter"}, exclude_none=True)
        sampling = sampling.model_copy(update=own) if own else sampling
        capabilities = sm.capabilities
        if constraint and not (capabilities.schema if constraint.kind == "schema" else capabilities.regex):
            constraint = None
        lowered = [constraint.kind, constraint.value] if constraint else None
        drawn = sampling.model_dump()
        key = address(self._run_seed, sm.identity, messages, drawn, lowered, sample)

        async def make() -> Call:
            tokens, money = self._most(messages, sampling, voice)
            self.budget.reserve(tokens, money, self.spent_money if self.budget.money is not None else 0.0)
            tally = self.tallies[voice.sm]
            tally.enter()
            at, started = time.time(), time.monotonic()
            try:
                seed = int(key[:16], 16)
                (reply,) = await sm.complete(Request(messages, sampling, seed, constraint, priority=priority))
            finally:
                tally.leave()
                self.budget.release(tokens, money)
            try:
                reply.text.encode()
            except UnicodeEncodeError as error:  # JSON can spell it, UTF-8 and what is written in it cannot
                raise EngineRefused("reply with half a surrogate pair", where=sm.identity) from error
            self._count(voice.sm, reply.prompt_tokens, reply.completion_tokens)
            self.made += 1
            self.first_paid = priority if self.first_paid is None else min(priority, self.first_paid)
            self.answered += 1
            self.generated_tokens += reply.completion_tokens
            return Call(
                key=key,
                agent=agent,
                model=sm.identity,
                messages=messages,
                sampling={**drawn, "seed": seed},
                reply=reply.text,
                usage={
                    "prompt": reply.prompt_tokens,
                    "cached": reply.cached_tokens,
                    "completion": reply.completion_tokens,
                },
                seconds=round(time.monotonic() - started, 4),
                error="loop" if reply.looped else "truncated" if reply.truncated else None,
                parent=parent,
                sm=voice.sm,
                at=round(at, 4),
            )

        return await self._journal.call(key, make)
