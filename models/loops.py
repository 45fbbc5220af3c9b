"""Replies that go round in circles: cut while they are written, where the engine is ours, and never used.

A loop is the same 16 to 64 tokens three times over at the end of a reply; a shorter pattern that goes on repeats itself
at some such length too. vLLM is given the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence

SHORTEST, LONGEST, COPIES = 16, 64, 3


def looped(tokens: Sequence[object]) -> bool:
    """Whether the end of a sequence is one pattern over and over."""
    size = len(tokens)
    for period in range(SHORTEST, min(LONGEST, size // COPIES) + 1):
        tail = tokens[size - period :]
        if all(tokens[size - copy * period : size - (copy - 1) * period] == tail for copy in range(2, COPIES + 1)):
            return True
    return False
