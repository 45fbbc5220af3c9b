"""Calls to the SM: journaled, keyed, seeded, and within the budget."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from understudy.corpus.journal import Journal
from understudy.corpus.tokens import count_tokens
from understudy.models.sm import SM, Constraint, request
from understudy.nouns import Call, Messages, address
from understudy.prompt import Sampling


class BudgetReached(Exception):
    """The next call would not fit the budget; the run ends with what it has."""


@dataclass(slots=True)
class Budget:
    """What may be spent, and what has been: tokens spent never pass the limit."""

    tokens: int | None = None
    seconds: float | None = None
    spent_tokens: int = 0
    reserved_tokens: int = 0
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def reserve(self, tokens: int) -> None:
        """Set tokens aside for a call.

        Raises:
            BudgetReached: when they are not there.
        """
        if self.tokens is not None and self.spent_tokens + self.reserved_tokens + tokens > self.tokens:
            raise BudgetReached(f"{self.tokens:,} tokens")
        if self.seconds is not None and time.monotonic() - self.started > self.seconds:
            raise BudgetReached(f"{self.seconds:g} seconds")
        self.reserved_tokens += tokens

    def settle(self, reserved: int, used: int) -> None:
        """Give back what was set aside and enter what was used."""
        self.reserved_tokens -= reserved
        self.spent_tokens += used


class Caller:
    """Makes an agent's calls to one SM."""

    def __init__(self, sm: SM, journal: Journal, budget: Budget, run_seed: int) -> None:
        self.sm = sm
        self.budget = budget
        self.made = 0
        """Calls that went to the engine in this sitting, replayed ones not counted."""
        self.answered = 0
        """Calls that the journal holds, of all sittings."""
        self.generated_tokens = 0
        """In this sitting."""
        self.prompt_total = 0
        self.completion_total = 0
        """Tokens that the journal holds, of all sittings."""
        self._journal = journal
        self._run_seed = run_seed

    def resume(self, usage: Iterable[tuple[str, int, int, int, float]]) -> None:
        """Take over what earlier sittings spent, as `Ledger.call_usage` tells it."""
        for _, calls, prompt, completion, _ in usage:
            self.answered += calls
            self.prompt_total += prompt
            self.completion_total += completion
            self.budget.spent_tokens += prompt + completion

    async def call(
        self,
        agent: str,
        messages: Messages,
        sampling: Sampling,
        constraint: Constraint | None,
        sample: tuple[int, int],
        parent: str | None,
    ) -> Call:
        """One call, from the journal if it is there.

        Args:
            agent: who asks, as `family/name`; for the record, not part of the key.
            messages: the whole prompt.
            sampling: how the reply is drawn.
            constraint: what it must look like; dropped where the engine cannot hold it.
            sample: which draw of its seed, and which try, this is: part of the key, so that two draws differ.
            parent: key of the call this one builds on.

        Raises:
            BudgetReached: before anything is sent.
            EngineTransient, EngineRefused: from the engine; nothing is then journaled.
        """
        capabilities = self.sm.capabilities
        if constraint and not (capabilities.schema if constraint.kind == "schema" else capabilities.regex):
            constraint = None
        lowered = [constraint.kind, constraint.value] if constraint else None
        key = address(self._run_seed, self.sm.identity, messages, sampling.model_dump(), lowered, sample)

        async def make() -> Call:
            # The estimate is of the text; chat templates and unusual scripts need the margin.
            reserved = round(sum(count_tokens(m["content"]) for m in messages) * 1.5) + 64 + sampling.max_tokens
            self.budget.reserve(reserved)
            used = 0
            started = time.monotonic()
            try:
                seed = int(key[:16], 16)
                message = await request(self.sm, messages, sampling, seed, constraint)
                usage = message.usage_metadata
                prompt = usage["input_tokens"] if usage else 0
                completion = usage["output_tokens"] if usage else 0
                used = prompt + completion
            finally:
                self.budget.settle(reserved, used)
            self.made += 1
            self.answered += 1
            self.prompt_total += prompt
            self.completion_total += completion
            self.generated_tokens += completion
            return Call(
                key=key,
                agent=agent,
                model=self.sm.identity,
                messages=messages,
                sampling=sampling.model_dump() | {"seed": seed},
                reply=message.text,
                usage={"prompt": prompt, "completion": completion},
                seconds=round(time.monotonic() - started, 4),
                error="truncated" if message.response_metadata.get("finish_reason") == "length" else None,
                parent=parent,
            )

        return await self._journal.call(key, make)
