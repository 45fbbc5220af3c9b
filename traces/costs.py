"""What an accepted example cost, and where tokens went that made none."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from understudy.corpus import RunFolder
from understudy.corpus.accounting import Accounting, Cost
from understudy.corpus.sample import Fewest
from understudy.nouns import Status, address

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
        found = _of_drafts(folder, names[by])
        wanted = {"leaf": skills, "skill": set(filter(None, (skills or {}).values()))}.get(by) or ()
        found += [Share(name, 0) for name in set(wanted) - {share.name for share in found}]
        found.append(Share("(drafts that were not finished)", None, 0, books.tokens_by_status["unfinished"]))
    return sorted(found, key=lambda share: (-share.tokens, share.name))


def outcomes(folder: RunFolder) -> Counter[tuple[str, str]]:
    """What became of the versions of all drafts, by the agent that wrote them."""
    found: Counter[tuple[str, str]] = Counter()
    for status in _STATUSES:
        for row in folder.rows(status, columns=["id", "versions"]):
            found.update((version["by"], _short(version)) for version in row.get("versions") or ())
    return found


def _short(version: Mapping[str, Any]) -> str:
    """What became of a version; of what a noiser wrote, without the number or name that it lost."""
    outcome = str(version["outcome"])
    return outcome.partition(": ")[0] if str(version["by"]).startswith("noise/") else outcome


def _of_calls(books: Accounting, costs: dict[str, Cost]) -> list[Share]:
    accepted = books.drafts["accepted"]
    return [Share(name, None, accepted, cost.prompt_tokens + cost.completion_tokens) for name, cost in costs.items()]


class Tally:
    """Shares of drafts, filled row by row.

    Args:
        name: says to which share a draft belongs.
        most: so many names are told apart, an even sample of them; the drafts of others are put together.
    """

    def __init__(self, name: Callable[[Mapping[str, Any]], str], most: int = sys.maxsize) -> None:
        self._name = name
        self._found: Fewest[Share] = Fewest(most)
        self._all = Share("(others)", 0)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a draft."""
        name = self._name(row)
        share = self._found.kept.get(name)
        if share is None and self._found.admits(name, int(address(name), 16)):
            share = self._found.kept[name] = Share(name, 0)
        for one in (self._all, *([share] if share else ())):
            one.drafts = (one.drafts or 0) + 1
            setattr(one, row["status"], getattr(one, row["status"]) + 1)
            one.tokens += row["sm_tokens"]

    def shares(self) -> list[Share]:
        """In the order in which they came; those that were put together last."""
        found = list(self._found.kept.values())
        if not self._found.dropped:
            return found
        counts = ("drafts", "tokens", *_STATUSES)
        left = {name: getattr(self._all, name) - sum(getattr(one, name) for one in found) for name in counts}
        return [*found, Share(self._all.name, **left)]


def _of_drafts(folder: RunFolder, name: Callable[[Mapping[str, Any]], str]) -> list[Share]:
    tally = Tally(name)
    for status in _STATUSES:
        for row in folder.rows(
            status, columns=["status", "reason", "persona", "seed_id", "source", "path", "sm_tokens"]
        ):
            tally.add(row)
    return tally.shares()


def planned_skill(row: Mapping[str, Any]) -> str:
    """The skill that a draft was planned for, as its path says."""
    planned = next((step for step in row["path"] if step.startswith("plan/")), None)
    skill = planned.split("/")[1] if planned else "any"
    return "(no skill)" if skill == "any" else skill


def drawn_persona(row: Mapping[str, Any]) -> str:
    """Whose part was played, where personas come from a set; of those inferred for one draft, who inferred them."""
    if row["persona"] is None:
        return "(no persona)"
    inferred = next((step for step in row["path"] if step.startswith("persona/")), None)
    return f"(inferred by {inferred})" if inferred else str(row["persona"]["text"])


def _reason(row: Mapping[str, Any]) -> str:
    return str(row["status"]) if row["reason"] is None else f"{row['status']}: {row['reason']}"


def _leaf(row: Mapping[str, Any]) -> str:
    """Who asked, or was to ask."""
    asked = next((step for step in row["path"] if step.startswith("instruct/")), "(ended before anybody asked)")
    planned = next((step for step in row["path"] if step.startswith("plan/")), None)
    return f"instruct/{planned.rpartition('/')[2]}" if planned else asked


_NAMES: dict[By, Callable[[Mapping[str, Any]], str]] = {
    "persona": lambda row: str(row["persona"]["text"]) if row["persona"] else "(no persona)",
    "seed": lambda row: f"{row['seed_id'][:12]}  {row['source']}",
    "leaf": _leaf,
    "reason": _reason,
}
