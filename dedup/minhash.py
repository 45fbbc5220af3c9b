"""Texts that share nearly all their words: MinHash proposes, exact Jaccard decides.

128 permutations in 16 bands of 8 rows propose at least 99.9 % of pairs at Jaccard 0.9; the more usual 8 bands of 16
rows would miss a fifth of them. Below 0.9 the bands are shorter, to keep that recall. Word 1-grams, as Persona Hub
uses (arXiv 2406.20094, 2.3). Bands and texts lie on disk, so memory does not grow with the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from understudy.corpus.scratch import Database

Signature = NDArray[np.uint32]

PERMUTATIONS = 128
_LEAST_RECALL = 0.999
# Signatures are comparable only under the same scheme; an index file carries this, and another is refused.
SCHEME = f"datasketch-affine32-seed1-{PERMUTATIONS}-words"
# Copies share its permutations, which take longer to draw than to apply.
_EMPTY = MinHash(num_perm=PERMUTATIONS, seed=1, scheme="affine32")

# Odd numbers below 2^63, drawn once and for all: this generator's stream is frozen.
_FACTORS = np.random.RandomState(1).randint(1 << 62, size=PERMUTATIONS, dtype=np.uint64) * 2 + 1

_WORD = re.compile(r"\w+")
# A bucket is a hash of a band's number and its rows: texts with equal rows in one band share that bucket.
_TABLES = """
CREATE TABLE texts(place INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE buckets(bucket INTEGER, place INTEGER, PRIMARY KEY(bucket, place)) WITHOUT ROWID;
"""


def shingles(text: str) -> frozenset[str]:
    """The set of words of a text, case folded; a text without words is one shingle, itself."""
    return frozenset(_WORD.findall(text.casefold())) or frozenset({text.strip()})


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared words over all words, in 0..1."""
    return len(one & other) / len(one | other)


def signature(text: str) -> Signature:
    """The 128 minima of a text's words."""
    sketch = _EMPTY.copy()
    sketch.update_batch([_bytes(word) for word in shingles(text)])
    minima: Signature = sketch.hashvalues
    return minima


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
        self._bands = bands(threshold)
        marks = ", ".join("?" * self._bands[0])
        self._proposed = (
            f"SELECT key, body FROM texts WHERE place IN (SELECT place FROM buckets WHERE bucket IN ({marks}))"  # noqa: S608
            " ORDER BY place"
        )
        self._db = Database(_TABLES)
        self._size = 0

    def nearest(self, text: str, signature: Signature) -> tuple[str, float] | None:
        """The key and exact Jaccard of the most similar text above the threshold; ties go to the earliest."""
        words = shingles(text)
        best: tuple[str, float] | None = None
        for key, body in self._db.read(self._proposed, self._buckets(signature[None])[0].tolist()):
            share = jaccard(words, shingles(body.decode("utf-8", "surrogatepass")))
            if best is None or share > best[1]:
                best = (key, share)
        return best if best and (best[1] > self.threshold or best[1] == 1) else None

    def add(self, keys: Sequence[str], texts: Sequence[str], signatures: Signature) -> None:
        """Enter texts with their signatures, shape (texts, 128)."""
        first, self._size = self._size, self._size + len(texts)
        self._db.write("INSERT INTO texts VALUES (?, ?, ?)", zip(count(first), keys, map(_bytes, texts), strict=False))
        buckets = self._buckets(signatures)
        places = np.repeat(np.arange(first, self._size), buckets.shape[1])
        order = np.argsort(buckets, axis=None)  # neighbours in the table are written together
        entries = zip(buckets.ravel()[order].tolist(), places[order].tolist(), strict=True)
        self._db.write("INSERT OR IGNORE INTO buckets VALUES (?, ?)", entries)

    def _buckets(self, signatures: Signature) -> NDArray[np.int64]:
        """The buckets of each signature, shape (signatures, bands)."""
        number, rows = self._bands
        minima = signatures[:, : number * rows].reshape(len(signatures), number, rows).astype(np.uint64)
        # Products and sums wrap around at 64 bits. Should two bands meet in one bucket, a text more is compared.
        mixed = (minima * _FACTORS[:rows]).sum(axis=2, dtype=np.uint64) + _FACTORS[:number]
        buckets: NDArray[np.int64] = (mixed * _FACTORS[0]).view(np.int64)
        return buckets


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
