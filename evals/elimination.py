"""What eliminates an evolved instruction, so that its parent returns to the pool.

Evol-Instruct (arXiv 2304.12244, section 3.3): no information gain, an answer that shows the instruction to be too hard,
an answer without content, an instruction that copies words of the prompt that evolved it.
"""

from __future__ import annotations

import re

from understudy.evals.rules import STOP, grams, words
from understudy.nouns import Verdict

SHORT_WORDS = 80
"""An apology in fewer words than these is taken for a refusal."""
_LEAKED = 4
_SORRY = re.compile(r"\bsorry\b", re.IGNORECASE)


def eliminated(parent: str, evolved: str, answer: str, template: str) -> Verdict | None:
    """The first rule that eliminates an evolved instruction; None: it may stay.

    Args:
        parent: the instruction that it was made from.
        evolved: the instruction.
        answer: to the evolved instruction alone.
        template: the text of the prompt that evolved it, without what was filled in.
    """
    found = (no_gain(parent, evolved), leak(parent, evolved, template), hard(answer), empty(answer))
    return next((verdict for verdict in found if not verdict.passed), None)


def no_gain(parent: str, evolved: str) -> Verdict:
    """The evolved instruction does not say the same in the same words; a judge may say more."""
    same = words(parent) == words(evolved)
    return Verdict("evolve/no-gain", not same, None, "the same words" if same else None)


def hard(answer: str) -> Verdict:
    """The answer is no apology of fewer than 80 words."""
    length = len(answer.split())
    refused = bool(_SORRY.search(answer)) and length < SHORT_WORDS
    return Verdict("evolve/hard-to-answer", not refused, None, f"sorry, in {length} words" if refused else None)


def empty(answer: str) -> Verdict:
    """The answer is more than punctuation and stop words."""
    said = set(words(answer)) - STOP
    return Verdict("evolve/empty", bool(said), None, None if said else "nothing but stop words")


def leak(parent: str, evolved: str, template: str) -> Verdict:
    """The instruction repeats no four words in a row of the prompt that evolved it."""
    copied = grams(words(evolved), _LEAKED) & grams(words(template), _LEAKED) - grams(words(parent), _LEAKED)
    shown = " ".join(min(copied)) if copied else None
    return Verdict("evolve/leak", not copied, None, shown and f"says {shown!r}, as its prompt does")


def added(parent: str, evolved: str) -> int:
    """By how many words the evolved instruction is longer."""
    return len(evolved.split()) - len(parent.split())
