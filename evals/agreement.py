"""How verifiers agree, and which of them is alone in saying no.

Of verifiers that spoke on the same drafts: the share on which they agree, and what is left of that beyond chance
(Cohen, 1960). Rules all speak, judges only if no rule failed, and one judge after another until one says no: where
a verifier is only asked when another has passed, the two never differ in one direction, and kappa is low or undefined
for that reason. The number of drafts stands beside each figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

_UNDECIDED = {"tied": "tied", "not understood": "unread"}


class Agreement:
    """Takes in what verifiers said of each draft, and how candidates were compared."""

    def __init__(self) -> None:
        self._spoke: Counter[str] = Counter()
        self._no: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, str, bool, bool]] = Counter()
        self._compared: Counter[str] = Counter()

    def add(self, verdicts: Iterable[Mapping[str, Any]], versions: Iterable[Mapping[str, Any]] = ()) -> None:
        """Take in one draft. A verifier that spoke more than once passed it if it did so every time."""
        said: dict[str, bool] = {}
        for verdict in verdicts:
            if verdict["by"].startswith("dedup/"):  # says that there is a twin, not that anything is wrong
                continue
            said[verdict["by"]] = said.get(verdict["by"], True) and bool(verdict["passed"])
        self._spoke.update(said.keys())
        against = [name for name, passed in said.items() if not passed]
        self._no.update(against)
        if len(against) == 1 and len(said) > 1:
            self._alone[against[0]] += 1
        for one, other in combinations(sorted(said), 2):
            self._pairs[one, other, said[one], said[other]] += 1
        for version in versions:
            if version["round"] == 0 and version["outcome"] in ("worse than another", *_UNDECIDED):
                self._compared[version["outcome"]] += 1

    def figures(self) -> dict[str, Any]:
        """By verifier, by pair, and of the comparisons of candidates.

        Of a pair, `kappa` is None where chance alone makes them agree on everything: both always said the same word.
        Candidates are compared by judges asked in both orders; `tied` is where they did not hold to their word when
        the order changed, or outweighed one another.
        """
        verifiers = [
            {
                "name": name, "n": n, "no": self._no[name], "no_share": self._no[name] / n, "alone": self._alone[name],
                "alone_share": self._alone[name] / self._no[name] if self._no[name] else None,
            }
            for name, n in sorted(self._spoke.items())
        ]  # fmt: skip
        names = sorted({key[:2] for key in self._pairs})
        pairs = [self._pair(one, other) for one, other in names]
        compared = self._compared.total()
        words = {"decided": self._compared["worse than another"]} | {
            told: self._compared[outcome] for outcome, told in _UNDECIDED.items()
        }
        return {"verifiers": verifiers, "pairs": pairs, "orders": {"n": compared, **words} if compared else None}

    def _pair(self, one: str, other: str) -> dict[str, Any]:
        yes, first, second, no = (
            self._pairs[one, other, *said] for said in ((True, True), (True, False), (False, True), (False, False))
        )
        n = yes + first + second + no
        agree = (yes + no) / n
        return {
            "one": one, "other": other, "n": n, "agree": agree, "kappa": kappa(yes, first, second, no),
            "both_no": no, "only_one_no": second, "only_other_no": first,
        }  # fmt: skip


def kappa(yes: int, first: int, second: int, no: int) -> float | None:
    """Cohen's kappa of two who said yes or no of the same things.

    Args:
        yes: how often both said yes.
        first: only the first one did.
        second: only the second one did.
        no: neither did.
    """
    n = yes + first + second + no
    # Whole numbers as long as can be: n² times the agreement that chance gives.
    chance = (yes + first) * (yes + second) + (second + no) * (first + no)
    return None if chance == n * n else (n * (yes + no) - chance) / (n * n - chance)
