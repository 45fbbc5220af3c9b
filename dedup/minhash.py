"""Texts that share nearly all their words: MinHash proposes, exact Jaccard decides.

128 permutations in 16 bands of 8 rows propose at least 99.9 % of pairs at Jaccard 0.9; the more usual 8 bands of 16
rows would miss a fifth of them. Below 0.9 the bands are shorter, to keep that recall. Word 1-grams, as Persona Hub
uses (arXiv 2406.20094, 2.3).
"""

from __future__ import annotations

import re

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

PERMUTATIONS = 128
_LEAST_RECALL = 0.999
# Signatures are comparable only under the same scheme; an index file carries this, and another is refused.
SCHEME = f"datasketch-affine32-seed1-{PERMUTATIONS}-words"

_WORD = re.compile(r"\w+")


def shingles(text: str) -> frozenset[str]:
    """The set of words of a text, case folded; a text without words is one shingle, itself."""
    return frozenset(_WORD.findall(text.casefold())) or frozenset({text.strip()})


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared words over all words, in 0..1."""
    return len(one & other) / len(one | other)


def bands(threshold: float) -> tuple[int, int]:
    """Bands and rows that propose at least 99.9 % of the pairs at the threshold: 1 - (1 - t^rows)^bands."""
    for rows in (8, 4, 2, 1):
        number = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** number >= _LEAST_RECALL:
            return number, rows
    return PERMUTATIONS, 1


class MinHashIndex:
    """Texts by key; `nearest` finds the most similar one above the threshold."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=bands(threshold))
        self._words: dict[str, frozenset[str]] = {}

    def signature(self, text: str) -> MinHash:
        """The 128 minima of a text's words."""
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1, scheme="affine32")
        sketch.update_batch([word.encode("utf-8", "surrogatepass") for word in sorted(shingles(text))])
        return sketch

    def restore(self, values: list[int]) -> MinHash:
        """A signature from its stored minima."""
        return MinHash(num_perm=PERMUTATIONS, seed=1, scheme="affine32", hashvalues=np.array(values, dtype=np.uint32))

    def nearest(self, text: str, signature: MinHash) -> tuple[str, float] | None:
        """The key and exact Jaccard of the most similar text above the threshold; ties go to the earliest."""
        words = shingles(text)
        scored = [(jaccard(words, self._words[key]), key) for key in self._lsh.query(signature)]
        order = list(self._words) if len(scored) > 1 else []
        best = max(scored, key=lambda hit: (hit[0], -order.index(hit[1]) if order else 0), default=None)
        return (best[1], best[0]) if best and (best[0] > self.threshold or best[0] == 1) else None

    def add(self, key: str, text: str, signature: MinHash) -> None:
        """Enter a text."""
        self._lsh.insert(key, signature)
        self._words[key] = shingles(text)


def minima(signature: MinHash) -> NDArray[np.uint32]:
    """The stored form of a signature."""
    values: NDArray[np.uint32] = signature.hashvalues
    return values
