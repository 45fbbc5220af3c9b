"""Whom and what the accepted rows favour: shares among them beside shares among all drafts."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from understudy.corpus.sample import SAMPLE, Fewest
from understudy.evals.interval import difference
from understudy.nouns import address

_LISTED = 20


class Shares:
    """One attribute of drafts: how often each value was drafted and accepted.

    Of more than 2000 different values, those 2000 with the smallest hashes are kept, with exact counts.

    Args:
        number: the hash of a value.
    """

    def __init__(self, number: Callable[[str], int] = lambda value: int(address(value), 16)) -> None:
        self._number = number
        self._values: Fewest[list[int]] = Fewest(SAMPLE)
        self._drafted = self._accepted = 0

    def add(self, value: str | None, accepted: bool) -> None:
        """Take in a draft; None where the value is not known, which is left out."""
        if value is None:
            return
        self._drafted += 1
        self._accepted += accepted
        counts = self._values.kept.get(value)
        if counts is None and self._values.admits(value, self._number(value)):
            counts = self._values.kept[value] = [0, 0]
        if counts is not None:
            counts[0] += 1
            counts[1] += accepted

    def figures(self) -> dict[str, Any] | None:
        """The 20 most drafted values, and the one of all whose share changed most; None without a draft.

        `change` is the share among accepted rows minus that among all drafts. The accepted are part of all drafts, so
        it is (1 - accepted/drafts) times the difference to the drafts that were not accepted, of which Newcombe's
        interval is known. The largest of several changes is looked at, so its interval is widened to hold for all of
        them at 95 % together (Bonferroni); drafts are taken as independent, though those of a seed are not quite.
        """
        if not self._drafted:
            return None
        values = [self._value(value, *counts) for value, counts in self._values.kept.items()]
        values.sort(key=lambda one: (-one["drafted"], one["value"]))
        lost = self._drafted - self._accepted
        largest = None
        if self._accepted and lost and len(values) > 1:
            found = max(values, key=lambda one: round(abs(one["change"]), 12))  # of equals, the most drafted
            confidence = 1 - 0.05 / len(values)
            low, high = difference(
                found["accepted"], self._accepted, found["drafted"] - found["accepted"], lost, confidence
            )
            scale = lost / self._drafted
            largest = {key: found[key] for key in ("value", "change")} | {
                "low": low * scale, "high": high * scale, "excludes_zero": low > 0 or high < 0,
            }  # fmt: skip
        return {
            "n": self._drafted, "accepted": self._accepted, "different": len(values), "sampled": self._values.dropped,
            "values": values[:_LISTED], "largest": largest,
        }  # fmt: skip

    def _value(self, value: str, drafted: int, accepted: int) -> dict[str, Any]:
        share = drafted / self._drafted
        among = accepted / self._accepted if self._accepted else None
        return {
            "value": value, "drafted": drafted, "accepted": accepted, "share_drafted": share, "share_accepted": among,
            "change": None if among is None else among - share,
        }  # fmt: skip


PAIRS = (
    ("she", "he"), ("her", "his"), ("woman", "man"), ("herself", "himself"), ("daughter", "son"), ("mother", "father"),
    ("gal", "guy"), ("girl", "boy"), ("female", "male"),
)  # fmt: skip
"""Words that name a gender: the pairs of Bolukbasi et al. (arXiv 1607.06520, appendix), but for Mary and John."""
_FEMININE = frozenset(one for one, _ in PAIRS)
_MASCULINE = frozenset(other for _, other in PAIRS)


class Gendered:
    """In how many texts words of one gender stand, of both, or of neither."""

    def __init__(self) -> None:
        self._counts = {"feminine": 0, "masculine": 0, "both": 0, "neither": 0}

    def add(self, there: Set[str]) -> None:
        """Take in the words that a text has, in lower case."""
        she, he = bool(there & _FEMININE), bool(there & _MASCULINE)
        self._counts["both" if she and he else "feminine" if she else "masculine" if he else "neither"] += 1

    def figures(self) -> dict[str, Any] | None:
        """Counts of texts, and of those with one gender's words alone the feminine share; None without a text."""
        n = sum(self._counts.values())
        if not n:
            return None
        one = self._counts["feminine"] + self._counts["masculine"]
        share = self._counts["feminine"] / one if one else None
        return {
            "n": n, **self._counts, "feminine_share": share,
            "words": {"feminine": [a for a, _ in PAIRS], "masculine": [b for _, b in PAIRS]},
        }  # fmt: skip
