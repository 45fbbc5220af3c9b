"""Typing mistakes at the level of characters, made without an SM, the same for the same seed.

The kinds are those of everyday typing (Damerau, A technique for computer detection and correction of spelling errors,
1964: a letter too many, one too few, a wrong one, two swapped), with the neighbours of a keyboard for wrong ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

_WORD = re.compile(r"[^\W\d_]{4,}")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SHARE = 3
"""At full strength one word in so many has a mistake."""


def typos(text: str, strength: float, rng: Random, spans: Sequence[tuple[int, int]] = ()) -> str:
    """A text with mistakes in some of its words of four letters or more, one each; the first letter stays.

    Args:
        text: what is typed.
        strength: in 0..1; 1 is a mistake in every third word.
        rng: where, and which.
        spans: parts that must not be touched, as (start, end).
    """
    words = [
        match
        for match in _WORD.finditer(text)
        if not any(start < match.end() and match.start() < end for start, end in spans)
    ]
    count = min(len(words), max(1, round(strength * len(words) / _SHARE)))
    out = text
    for match in sorted(rng.sample(words, count), key=lambda match: -match.start()):  # from the end: places stay
        out = out[: match.start()] + _mistaken(match.group(), rng) + out[match.end() :]
    return out


def _mistaken(word: str, rng: Random) -> str:
    """The word with one mistake; a swap of equal letters is none, so another kind is tried."""
    kinds = list(_KINDS)
    rng.shuffle(kinds)
    place = rng.randrange(1, len(word) - 1)
    return next((made for kind in kinds if (made := kind(word, place, rng)) != word), word + word[-1])


def _swapped(word: str, place: int, rng: Random) -> str:
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _left_out(word: str, place: int, rng: Random) -> str:
    return word[:place] + word[place + 1 :]


def _doubled(word: str, place: int, rng: Random) -> str:
    return word[:place] + word[place] + word[place:]


def _beside(word: str, place: int, rng: Random) -> str:
    """The key beside is hit."""
    letter = word[place]
    row = next((row for row in _ROWS if letter.lower() in row), None)
    if row is None:
        return word
    at = row.index(letter.lower())
    near = rng.choice(row[max(0, at - 1) : at] + row[at + 1 : at + 2])
    return word[:place] + (near.upper() if letter.isupper() else near) + word[place + 1 :]


def _also_beside(word: str, place: int, rng: Random) -> str:
    """The key beside is hit as well."""
    slipped = _beside(word, place, rng)
    return word if slipped == word else word[: place + 1] + slipped[place] + word[place + 1 :]


_KINDS: tuple[Callable[[str, int, Random], str], ...] = (_swapped, _left_out, _doubled, _beside, _also_beside)
