"""Whether a text names the label that it was written for: a classifier would learn the word, and nothing else."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import regex

from understudy.evals.rules import STOP
from understudy.nouns import Verdict

# Words that stand in texts of any label: they give it away only where they stand alone.
_COMMON = STOP | {"both", "either", "else", "false", "neither", "none", "true", "yes"}
_INFLECTED = 4
"""Letters from which a word has further forms; of shorter ones, other words begin with the same letters."""


def leak(text: str, label: str, more: Iterable[str] = ()) -> Verdict:
    """A text names neither its label, nor a form of it, nor another word that gives it away.

    Of a label that is a common word, such as `yes` or `other`, only a mention that stands alone counts: `Answer: yes.`
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    for phrase in (label, *more):
        if hit := _pattern(phrase).search(folded):
            return Verdict("rule/label-leak", False, 0.0, f"says {' '.join(hit.group(1).split())!r}")
    return Verdict("rule/label-leak", True, 1.0)


@lru_cache(maxsize=1024)
def _pattern(phrase: str) -> regex.Pattern[str]:
    """Finds a phrase as words, its last one in any form; group 1 is what is found."""
    words = regex.findall(r"[^\W_]+", unicodedata.normalize("NFKC", phrase).casefold())
    if not words:  # signs, such as stars
        return regex.compile(f"({regex.escape(unicodedata.normalize('NFKC', phrase).casefold())})")
    if all(word in _COMMON for word in words):
        alone = r"[\W_]+".join(map(regex.escape, words))
        return regex.compile(rf"(?:^|[\n.:;!?\"'“”‘’(\[*=>-])[^\S\n]*({alone})(?=[^\S\n]*(?:$|[\n.;!?\"'“”‘’)\]*<]))")
    *first, last = words
    found = r"[\W_]+".join([*map(regex.escape, first), _forms(last)])
    return regex.compile(rf"(?<![^\W_])({found})(?![^\W_])")


def _forms(word: str) -> str:
    """A word and what it is inflected to: `refund` also finds `refunded`, `positive` also `positively`."""
    if len(word) < _INFLECTED or not word.isalpha():
        return rf"{regex.escape(word)}(?:s|es)?" if word.isalpha() and len(word) > 2 else regex.escape(word)
    stem, last = regex.escape(word[:-1]), regex.escape(word[-1])
    if last == "e":
        return rf"{stem}(?:e|es|ed|er|ers|est|ing|ely|eness|ity|ities)"
    if last == "y" and word[-2] not in "aeiou":
        return rf"{stem}(?:y|ies|ied|ier|iest|ily|iness|ying)"
    return rf"{stem}{last}(?:s|es|ly|ness|er|ers|est|ity|{last}?(?:ed|ing|er|ers))?"
