import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from understudy.corpus import Journal, Ledger
from understudy.corpus.ledger import Usage
from understudy.errors import EngineRefused
from understudy.models import SM, Capabilities, Constraint, Scripted
from understudy.models.caller import Budget, BudgetReached, Caller
from understudy.models.sm import Reply, Request
from understudy.nouns import Call
from understudy.prompt import Sampling

ASK = ({"role": "user", "content": "Why does a lock need no pump?"},)
SCHEMA = Constraint("schema", {"type": "object", "properties": {"passes": {"type": "boolean"}}})
BASE: dict[str, Any] = {
    "agent": "instruct/why", "messages": ASK, "sampling": Sampling(), "constraint": None, "sample": (0, 0),
    "parent": None,
}  # fmt: skip


class Other(Scripted):
    """The same replies under another name, with a say in what it can do."""

    name_: str = "other"
    regex: bool = True
    truncated: bool = False
    held_to: list[Any] = Field(default_factory=list)

    @property
    def identity(self) -> str:
        return self.name_

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(schema=self.regex, regex=self.regex, seeded=True)

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self.held_to.append(request.constraint)
        return tuple(replace(reply, truncated=self.truncated) for reply in await super().complete(request))


@pytest.fixture
async def journal(tmp_path: Path):
    ledger = Ledger.create(tmp_path / "ledger.db", {})
    journal = Journal(ledger, tmp_path)
    yield journal
    await journal.aclose()
    ledger.close()


async def make(
    journal: Journal, sm: SM | None = None, run_seed: int = 0, budget: Budget | None = None, **changes: Any
) -> Call:
    return await Caller({"sm": sm or Scripted()}, journal, budget or Budget(), run_seed).call(**BASE | changes)


async def test_a_call_records_what_was_asked_and_what_came_back(journal: Journal):
    before = time.time()
    made = await make(journal, Scripted(script=["Water flows downhill."], delay_s=0.05), parent="before")
    assert (made.agent, made.model, made.messages) == ("instruct/why", "scripted", ASK)
    assert (made.reply, made.usage, made.error, made.parent) == (
        "Water flows downhill.", {"prompt": 8, "cached": 0, "completion": 4}, None, "before",
    )  # fmt: skip
    assert made.sampling == Sampling().model_dump() | {"seed": int(made.key[:16], 16)}
    assert made.seconds >= 0.05
    # When it was asked, not when it was answered; both are rounded.
    assert made.at is not None and before - 0.001 <= made.at <= time.time() - made.seconds + 0.001


async def test_a_truncated_reply_says_so(journal: Journal):
    assert (await make(journal, Other(truncated=True))).error == "truncated"


@pytest.mark.parametrize(
    "changes",
    [
        {"run_seed": 1},
        {"sm": Other()},
        {"messages": ({"role": "user", "content": "Why does a lock need no pump!"},)},
        {"sampling": Sampling(temperature=0.1)},
        {"constraint": SCHEMA},
        {"sample": (1, 0)},
        {"sample": (0, 1)},
    ],
    ids=["run seed", "model", "messages", "sampling", "constraint", "draw", "attempt"],
)
async def test_what_determines_a_reply_is_in_its_key(journal: Journal, changes: dict[str, Any]):
    assert (await make(journal, **changes)).key != (await make(journal)).key


@pytest.mark.parametrize("changes", [{"agent": "instruct/how"}, {"parent": "before"}], ids=["agent", "parent"])
async def test_what_does_not_determine_a_reply_is_not_in_its_key(journal: Journal, changes: dict[str, Any]):
    assert (await make(journal, **changes)).key == (await make(journal)).key


async def test_a_call_keeps_the_time_at_which_it_was_asked(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    first = await make(journal)
    monkeypatch.setattr(time, "time", lambda: 2_000.0)
    again, other = await make(journal), await make(journal, sample=(1, 0))
    assert (first.at, again.at, other.at) == (1_000.0, 1_000.0, 2_000.0)
    assert first.key == again.key


async def test_a_constraint_that_the_engine_cannot_hold_is_dropped_from_request_and_key(journal: Journal):
    weak = Other(regex=False)
    plain = await make(journal, weak, run_seed=1)
    for constraint in (SCHEMA, Constraint("regex", "a+")):
        assert (await make(journal, weak, run_seed=1, constraint=constraint)).key == plain.key
    assert weak.held_to == [None]
    strong = Other()
    await make(journal, strong, constraint=SCHEMA)
    assert strong.held_to == [SCHEMA]


async def test_a_call_that_is_journaled_is_neither_sent_nor_paid_again(journal: Journal):
    sm, budget = Scripted(), Budget(tokens=1000)
    caller = Caller({"sm": sm}, journal, budget, 0)
    first = await caller.call(**BASE)
    spent = budget.spent_tokens
    assert await caller.call(**BASE) == first
    assert (len(sm.asked), caller.made, budget.spent_tokens) == (1, 1, spent)
    assert spent == sum(first.usage.values())
    assert caller.generated_tokens == first.usage["completion"]


async def test_a_budget_that_is_too_small_stops_before_anything_is_sent(journal: Journal):
    sm = Scripted()
    with pytest.raises(BudgetReached, match="100 tokens"):
        await make(journal, sm, budget=Budget(tokens=100))
    assert sm.asked == []


async def test_what_a_failed_call_had_set_aside_is_given_back(journal: Journal):
    budget = Budget(tokens=1000)
    with pytest.raises(EngineRefused):
        await make(journal, Scripted(script=[]), budget=budget)
    assert (budget.reserved_tokens, budget.spent_tokens) == (0, 0)


async def test_tokens_spent_never_pass_the_limit(journal: Journal):
    budget = Budget(tokens=1500)
    caller = Caller({"sm": Scripted()}, journal, budget, 0)
    with pytest.raises(BudgetReached):
        for draw in range(1000):
            await caller.call(**BASE | {"sample": (draw, 0)})
    assert 1000 < budget.spent_tokens <= 1500
    assert budget.reserved_tokens == 0


async def test_what_earlier_sittings_spent_counts(journal: Journal, tmp_path: Path):
    caller = Caller({"sm": Scripted()}, journal, Budget(tokens=500), 0)
    caller.resume(
        [Usage("instruct/why", "sm", 3, 0, 300, 0, 100, 1.0), Usage("answer/answer", "sm", 1, 0, 40, 0, 10, 0.5)], {}
    )
    assert (caller.answered, caller.made, caller.budget.spent_tokens) == (4, 0, 450)
    with pytest.raises(BudgetReached):
        await caller.call(**BASE)


def test_a_budget_counts_what_is_set_aside_and_what_is_spent():
    budget = Budget(tokens=100)
    budget.reserve(60)
    with pytest.raises(BudgetReached):
        budget.reserve(41)
    budget.release(60)
    budget.spent_tokens += 20
    budget.reserve(80)
    assert (budget.reserved_tokens, budget.spent_tokens) == (80, 20)
    with pytest.raises(BudgetReached):
        budget.reserve(1)


def test_a_budget_of_time_runs_out(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(seconds=5)
    now[0] = 105.0
    budget.reserve(10)
    now[0] = 105.1
    with pytest.raises(BudgetReached, match="5 seconds"):
        budget.reserve(10)


def test_without_limits_nothing_is_refused():
    Budget().reserve(10**12)
