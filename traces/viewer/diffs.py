"""What changed between two texts, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Literal

Part = tuple[Literal["same", "out", "in"], str]
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def words(before: str, after: str) -> list[Part]:
    """Both texts as one: what stayed, what went out and what came in, in order.

    All of `same` and `out` together is `before`, all of `same` and `in` is `after`.
    """
    old, new = _WORD.findall(before), _WORD.findall(after)
    found: list[Part] = []
    for what, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            found.append(("same", "".join(old[a:b])))
        else:
            found += [("out", "".join(old[a:b]))] * (a < b)
            found += [("in", "".join(new[c:d]))] * (c < d)
    return found
