"""What an accepted example cost, and where tokens went that made none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from understudy.corpus import RunFolder
from understudy.corpus.accounting import Accounting, Cost
from understudy.nouns import Status

By = Literal["agent", "sm", "persona", "seed", "leaf", "skill", "reason"]
GROUPINGS: tuple[By, ...] = get_args(By)
_STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(slots=True)
class Share:
    """What one agent, SM, persona, seed, leaf, skill or reason took."""

    name: str
    drafts: int | None = None
    """Drafts that it had a part in; None where only calls are counted."""
    accepted: int = 0
    """Accepted ones among these; for agents and SMs, of the whole run."""
    tokens: int = 0
    """SM tokens, prompts and replies."""
    rejected: int = 0
    duplicate: int = 0
    failed: int = 0

    @property
    def per_accepted(self) -> float | None:
        """SM tokens for each accepted example; None without one."""
        return self.tokens / self.accepted if self.accepted else None


def shares(folder: RunFolder, by: By, skills: Mapping[str, str | None] | None = None) -> list[Share]:
    """Where the tokens went, the largest share first; all shares of drafts and what is unfinished make the whole.

    `skills` says which skill each instruct agent is for; those that no draft came to are told with none.
    """
    books = folder.accounting()
    found = _of_calls(books, books.agents if by == "agent" else books.sms) if by in ("agent", "sm") else []
    if not found:
        names = {**_NAMES, "skill": lambda row: (skills or {}).get(_leaf(row), _leaf(row)) or "(no skill)"}
        found = [*_of_drafts(folder, names[by])]
        wanted = {"leaf": skills, "skill": set(filter(None, (skills or {}).values()))}.get(by) or ()
        found += [Share(name, 0) for name in set(wanted) - {share.name for share in found}]
        found.append(Share("(drafts that were not finished)", None, 0, books.tokens_by_status["unfinished"]))
    return sorted(found, key=lambda share: (-share.tokens, share.name))


def outcomes(folder: RunFolder) -> Counter[tuple[str, str]]:
    """What became of the versions of all drafts, by the agent that wrote them."""
    found: Counter[tuple[str, str]] = Counter()
    for status in _STATUSES:
        for row in folder.rows(status, columns=["id", "versions"]):
            found.update((version["by"], version["outcome"]) for version in row.get("versions") or ())
    return found


def _of_calls(books: Accounting, costs: dict[str, Cost]) -> list[Share]:
    accepted = books.drafts["accepted"]
    return [Share(name, None, accepted, cost.prompt_tokens + cost.completion_tokens) for name, cost in costs.items()]


def _of_drafts(folder: RunFolder, name: Callable[[dict[str, Any]], str]) -> Iterator[Share]:
    found: defaultdict[str, Share] = defaultdict(lambda: Share("", 0))
    for status in _STATUSES:
        for row in folder.rows(
            status, columns=["status", "reason", "persona", "seed_id", "source", "path", "sm_tokens"]
        ):
            share = found[name(row)]
            share.drafts = (share.drafts or 0) + 1
            setattr(share, status, getattr(share, status) + 1)
            share.tokens += row["sm_tokens"]
    for key, share in found.items():
        share.name = key
        yield share


def _reason(row: dict[str, Any]) -> str:
    return str(row["status"]) if row["reason"] is None else f"{row['status']}: {row['reason']}"


def _leaf(row: dict[str, Any]) -> str:
    """Who asked, or was to ask."""
    asked = next((step for step in row["path"] if step.startswith("instruct/")), "(ended before anybody asked)")
    planned = next((step for step in row["path"] if step.startswith("plan/")), None)
    return f"instruct/{planned.rpartition('/')[2]}" if planned else asked


_NAMES: dict[By, Callable[[dict[str, Any]], str]] = {
    "persona": lambda row: str(row["persona"]["text"]) if row["persona"] else "(no persona)",
    "seed": lambda row: f"{row['seed_id'][:12]}  {row['source']}",
    "leaf": _leaf,
    "reason": _reason,
}
