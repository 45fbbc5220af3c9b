"""Records as lines, and what a record must be before its text is worth anything."""

from __future__ import annotations

from itertools import permutations

import regex

from understudy.nouns import Verdict

_BETWEEN = " | "


def line(record: dict[str, str]) -> str:
    """`name: value` pairs in one line."""
    return _BETWEEN.join(f"{name}: {value}" for name, value in record.items())


def parsed(text: str) -> dict[str, str]:
    """The record of such a line; what is no pair is left out."""
    pairs = (part.partition(": ") for part in text.split(_BETWEEN))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and value.strip()}


def literal(text: str) -> str:
    """A text as a pattern that matches it alone; only what has a meaning in a pattern is escaped."""
    return str(regex.sub(r"([\\.^$*+?{}\[\]()|])", r"\\\1", text))


def distinct(record: dict[str, str]) -> Verdict:
    """No field may hold what another one holds, or a part of it: nobody could tell which of them a word is."""
    values = list(map(_folded, record.values()))
    twice = next((one for one, other in permutations(values, 2) if _whole(one, other)), None)
    return Verdict("rule/distinct-values", twice is None, None, f"twice: {twice}" if twice else None)


def new(record: dict[str, str], known: list[list[str]]) -> Verdict:
    """A record of the seed is not to be written again."""
    values = sorted(map(_folded, record.values()))
    copied = any(sorted(map(_folded, one)) == values for one in known)
    return Verdict("rule/new-record", not copied, None, "a row of the seed" if copied else None)


def grounded(record: dict[str, str], text: str) -> Verdict:
    """Every value must stand in the text, word by word."""
    missing = [name for name, value in record.items() if _whole(value, text) is None]
    share = 1 - len(missing) / max(1, len(record))
    evidence = f"not in the text: {', '.join(missing)}" if missing else None
    return Verdict("rule/values-in-text", not missing and bool(record), share, evidence)


def _whole(value: str, text: str) -> object:
    """Where a value stands, not as a part of longer words."""
    return regex.search(rf"(?<!\w){literal(value)}(?!\w)", text)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
