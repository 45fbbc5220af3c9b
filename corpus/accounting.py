"""Where every seed, draft and token went; an imbalance is an error.

seeds = done + failed + pending, and drafts = accepted + rejected + duplicate + failed, each loss with its
reason, each draft a row in exactly one committed file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from understudy.corpus.ledger import Ledger, Usage
from understudy.errors import AccountingError
from understudy.recipe import Recipe

_HOME = {"accepted": "data/", "rejected": "rejected/", "duplicate": "duplicates/", "failed": "failed/"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What the calls of one agent, or to one SM, took."""

    calls: int
    reused: int
    """Of the calls, those taken over from another corpus, which paid for them."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt tokens, those that the engine had read before."""
    completion_tokens: int
    seconds: float
    cost: float
    """Money, by the recipe's prices of the SMs that were asked."""
    busy_s: float | None = None
    """Of an SM: seconds in which it worked on at least one request. An agent's calls overlap with others'."""


@dataclass(frozen=True, slots=True)
class Accounting:
    """The closed books of a run."""

    seeds: dict[str, int]
    """Seeds by state: done, failed, pending."""
    drafts: dict[str, int]
    """Drafts by status."""
    reasons: dict[str, int]
    """Drafts that were not accepted, by `status: reason`."""
    by_kind: dict[str, int]
    """Accepted examples by the kind of their seed."""
    agents: dict[str, Cost]
    """By the agent that asked."""
    sms: dict[str, Cost]
    """By the SM that was asked, as the recipe names it."""
    tokens: int
    """All SM tokens journaled, prompts and replies."""
    tokens_by_status: dict[str, int]
    """Those tokens by what became of the draft; `unfinished` is what no committed draft holds."""
    cost: float
    """Money, by the recipe's prices."""

    @classmethod
    def of(cls, ledger: Ledger, recipe: Recipe, by_kind: Mapping[str, int]) -> Accounting:
        """Close the books; `by_kind` counts the accepted examples by the kind of their seed.

        Raises:
            AccountingError: when they do not balance.
        """
        drafts = dict.fromkeys(_HOME, 0) | ledger.drafts_by_status()
        reasons = {
            f"{status}: {reason}": count for status, reason, count in ledger.drafts_by_reason() if status != "accepted"
        }
        usage = ledger.call_usage()
        busy = ledger.busy()
        money = spent(recipe, usage, busy)
        agents = {
            name: _cost([(u, m) for u, m in zip(usage, money, strict=True) if u.agent == name])
            for name in dict.fromkeys(u.agent for u in usage)
        }
        sms = {
            name: _cost([(u, m) for u, m in zip(usage, money, strict=True) if u.sm == name], busy.get(name, 0.0))
            for name in recipe.engines
        }
        tokens = sum(cost.prompt_tokens + cost.completion_tokens for cost in agents.values())
        by_status = ledger.tokens_by_status()
        books = cls(
            seeds=ledger.seeds_by_state(),
            drafts=drafts,
            reasons=reasons,
            by_kind=dict(sorted(by_kind.items())),
            agents=agents,
            sms=sms,
            tokens=tokens,
            tokens_by_status=by_status | {"unfinished": tokens - sum(by_status.values())},
            cost=sum(cost.cost for cost in agents.values()),
        )
        books._balance(ledger)
        return books

    def _balance(self, ledger: Ledger) -> None:
        for status, home in _HOME.items():
            written = sum(file.rows for file in ledger.files(home))
            if written != self.drafts[status]:
                raise AccountingError(
                    f"the ledger has {self.drafts[status]} {status} drafts, the files have {written}",
                    where=str(ledger.path.parent / home),
                )
        if self.seeds["pending"] < 0:
            raise AccountingError(f"seeds do not add up: {self.seeds}", where=str(ledger.path))
        if sum(self.by_kind.values()) != self.drafts["accepted"]:
            raise AccountingError(
                f"{self.drafts['accepted']} accepted drafts, of these kinds: {self.by_kind}", where=str(ledger.path)
            )
        nameless = [reason for reason in self.reasons if reason.endswith(": None")]
        if nameless:
            raise AccountingError(f"drafts without a reason: {nameless}", where=str(ledger.path))
        if self.tokens_by_status["unfinished"] < 0:
            raise AccountingError(f"tokens do not add up: {self.tokens_by_status}", where=str(ledger.path))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def spent(recipe: Recipe, usage: list[Usage], busy: Mapping[str, float]) -> list[float]:
    """The money that each agent's use of each SM cost; an SM's hours are shared out by tokens."""
    tokens = Counter[str]()
    for used in usage:
        tokens[used.sm] += used.prompt_tokens + used.completion_tokens

    def share(used: Usage) -> float:
        return (used.prompt_tokens + used.completion_tokens) / max(1, tokens[used.sm])

    return [
        recipe.engines[u.sm].money(u.prompt_tokens, u.completion_tokens, busy.get(u.sm, 0.0) * share(u)) for u in usage
    ]


def _cost(usage: list[tuple[Usage, float]], busy_s: float | None = None) -> Cost:
    return Cost(
        calls=sum(u.calls for u, _ in usage),
        reused=sum(u.reused for u, _ in usage),
        prompt_tokens=sum(u.prompt_tokens for u, _ in usage),
        cached_tokens=sum(u.cached_tokens for u, _ in usage),
        completion_tokens=sum(u.completion_tokens for u, _ in usage),
        seconds=sum(u.seconds for u, _ in usage),
        cost=sum(money for _, money in usage),
        busy_s=busy_s,
    )
