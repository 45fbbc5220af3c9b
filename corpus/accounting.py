"""Where every seed, draft and token went; an imbalance is an error.

seeds = done + failed + pending, and drafts = accepted + rejected + duplicate + failed, each loss with its
reason, each draft a row in exactly one committed file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from understudy.corpus.ledger import Ledger
from understudy.errors import AccountingError
from understudy.recipe import Recipe

_HOME = {"accepted": "data/", "rejected": "rejected/", "duplicate": "duplicates/", "failed": "failed/"}
_STATES = ("done", "failed", "pending")


@dataclass(frozen=True, slots=True)
class AgentCost:
    """What one agent's calls took."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


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
    agents: dict[str, AgentCost]
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
        agents = {agent: AgentCost(calls, p, c, s) for agent, calls, p, c, s in ledger.call_usage()}
        prompt = sum(cost.prompt_tokens for cost in agents.values())
        completion = sum(cost.completion_tokens for cost in agents.values())
        by_status = ledger.tokens_of_drafts()
        kinds = ledger.tally("drafts JOIN seeds ON seeds.id = drafts.seed", "status", "json_extract(body, '$.kind')")
        books = cls(
            seeds=seeds,
            drafts=drafts,
            reasons=reasons,
            by_kind={kind: count for status, kind, count in kinds if status == "accepted"},
            agents=agents,
            tokens=prompt + completion,
            tokens_by_status=by_status | {"unfinished": prompt + completion - sum(by_status.values())},
            cost=(prompt * recipe.sm.price_in + completion * recipe.sm.price_out) / 1e6,
        )
        books._balance(ledger)
        return books

    def _balance(self, ledger: Ledger) -> None:
        files = ledger.files()
        for status, home in _HOME.items():
            written = sum(file.rows for file in files if file.name.startswith(home))
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
