"""Where every seed, draft and token went; an imbalance is an error.

seeds = done + failed + pending, and drafts = accepted + rejected + duplicate + failed, each loss with its
reason, each draft a row in exactly one committed file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from understudy.corpus.ledger import Ledger, Usage
from understudy.errors import AccountingError
from understudy.recipe import Recipe

_HOME = {"accepted": "data/", "rejected": "rejected/", "duplicate": "duplicates/", "failed": "failed/"}
_STATES = ("done", "failed", "pending")


@dataclass(frozen=True, slots=True)
class Cost:
    """What the calls of one agent, or to one SM, took."""

    calls: int
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt tokens, those that the engine had read before."""
    completion_tokens: int
    seconds: float
    cost: float
    """Money, by the recipe's prices of the SMs that were asked."""


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
    def of(cls, ledger: Ledger, recipe: Recipe) -> Accounting:
        """Close the books.

        Raises:
            AccountingError: when they do not balance.
        """
        seeds = dict.fromkeys(_STATES, 0) | dict(ledger.tally("seeds", "state"))
        drafts = dict.fromkeys(_HOME, 0) | dict(ledger.tally("drafts", "status"))
        reasons = {
            f"{status}: {reason}": count
            for status, reason, count in ledger.tally("drafts", "status", "reason")
            if status != "accepted"
        }
        usage = ledger.call_usage()
        agents = {
            name: _cost(recipe, [u for u in usage if u.agent == name]) for name in dict.fromkeys(u.agent for u in usage)
        }
        sms = {name: _cost(recipe, [u for u in usage if u.sm == name]) for name in recipe.engines}
        tokens = sum(cost.prompt_tokens + cost.completion_tokens for cost in agents.values())
        by_status = ledger.tokens_of_drafts()
        kinds = ledger.tally("drafts JOIN seeds ON seeds.id = drafts.seed", "status", "json_extract(body, '$.kind')")
        books = cls(
            seeds=seeds,
            drafts=drafts,
            reasons=reasons,
            by_kind={kind: count for status, kind, count in kinds if status == "accepted"},
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
        if sum(self.seeds[state] for state in _STATES) != ledger.count_seeds():
            raise AccountingError(f"seeds do not add up: {self.seeds}", where=str(ledger.path))
        nameless = [reason for reason in self.reasons if reason.endswith(": None")]
        if nameless:
            raise AccountingError(f"drafts without a reason: {nameless}", where=str(ledger.path))
        if self.tokens_by_status["unfinished"] < 0:
            raise AccountingError(f"tokens do not add up: {self.tokens_by_status}", where=str(ledger.path))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _cost(recipe: Recipe, usage: list[Usage]) -> Cost:
    engines = recipe.engines
    return Cost(
        calls=sum(u.calls for u in usage),
        prompt_tokens=sum(u.prompt_tokens for u in usage),
        cached_tokens=sum(u.cached_tokens for u in usage),
        completion_tokens=sum(u.completion_tokens for u in usage),
        seconds=sum(u.seconds for u in usage),
        cost=sum(engines[u.sm].money(u.prompt_tokens, u.completion_tokens) for u in usage),
    )
