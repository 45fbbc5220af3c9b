"""Texts that share nearly all their words: MinHash proposes, exact Jaccard decides.

128 permutations in 16 bands of 8 rows propose at least 99.9 % of pairs at Jaccard 0.9; the more usual 8 bands of 16
rows would miss a fifth of them. Below 0.9 the bands are shorter, to keep that recall. Word 1-grams, as Persona Hub
uses (arXiv 2406.20094, 2.3). Bands and texts lie on disk, so memory does not grow with the corpus: the newest bands are
compared one by one, all others are sorted, some thousand texts a page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from understudy.corpus.scratch import Database, Pages

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
_TEXTS = "CREATE TABLE texts(place INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL)"
_PAGE = 1 << 18  # buckets that are sorted together: 2 MiB, those of 16,384 signatures in 16 bands
_NUMBER = np.uint64(_PAGE - 1)  # the bits that say which of a page's texts stands in a bucket


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
        self._texts = Database(_TEXTS)
        self._size = 0
        self._buckets = _Buckets(self._bands[0])

    def nearest(self, text: str, signature: Signature) -> tuple[str, float] | None:
        """The key and exact Jaccard of the most similar text above the threshold; ties go to the earliest."""
        words = shingles(text)
        best: tuple[str, float] | None = None
        for place in self._buckets.places(buckets(signature[None], self._bands)[0]).tolist():
            ((key, body),) = self._texts.read("SELECT key, body FROM texts WHERE place = ?", (place,))
            share = jaccard(words, shingles(body.decode("utf-8", "surrogatepass")))
            if best is None or share > best[1]:
                best = (key, share)
        return best if best and (best[1] > self.threshold or best[1] == 1) else None

    def add(self, keys: Sequence[str], texts: Sequence[str], signatures: Signature) -> None:
        """Enter texts with their signatures, shape (texts, 128)."""
        first, self._size = self._size, self._size + len(texts)
        rows = zip(count(first), keys, map(_bytes, texts), strict=False)
        self._texts.write("INSERT INTO texts VALUES (?, ?, ?)", rows)
        self._buckets.extend(buckets(signatures, self._bands))


def buckets(signatures: Signature, bands: tuple[int, int]) -> NDArray[np.uint64]:
    """The buckets of each signature, shape (signatures, bands).

    A bucket is a hash of a band's number and its rows: texts with equal rows in one band share that bucket.
    """
    number, rows = bands
    minima = signatures[:, : number * rows].reshape(len(signatures), number, rows).astype(np.uint64)
    # Products and sums wrap around at 64 bits. Should two bands meet in one bucket, a text more is compared.
    mixed = (minima * _FACTORS[:rows]).sum(axis=2, dtype=np.uint64) + _FACTORS[:number]
    found: NDArray[np.uint64] = mixed * _FACTORS[0]
    return found


class _Buckets:
    """Which texts stand in which bucket: the newest in memory as they came, full pages sorted on disk.

    In a sorted page, the last bits of a bucket have given way to the number of the text that stands in it.
    """

    def __init__(self, bands: int) -> None:
        self._newest = np.empty((_PAGE // bands, bands), np.uint64)
        self._numbers = np.arange(len(self._newest), dtype=np.uint64)[:, None]
        self._fresh = 0
        self._pages = Pages((self._newest.size,), np.uint64)

    def extend(self, buckets: NDArray[np.uint64]) -> None:
        """Add the buckets of the next texts, shape (texts, bands)."""
        while len(buckets):
            part = buckets[: len(self._newest) - self._fresh]
            self._newest[self._fresh : self._fresh + len(part)] = part
            self._fresh += len(part)
            buckets = buckets[len(part) :]
            if self._fresh == len(self._newest):
                self._newest &= ~_NUMBER
                self._newest |= self._numbers
                page = self._newest.reshape(-1)
                page.sort()
                self._pages.append(page)
                self._fresh = 0

    def places(self, buckets: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The numbers of the texts that share a bucket with this one, shape (bands,), in order."""
        found: set[int] = set()
        first = 0
        for page in self._pages:
            starts = np.searchsorted(page, buckets & ~_NUMBER)
            near = page[np.minimum(starts, len(page) - 1)] | _NUMBER == buckets | _NUMBER
            for start, bucket in zip(starts[near], buckets[near], strict=True):
                end = np.searchsorted(page, bucket | _NUMBER, "right")
                found.update((first + (page[start:end] & _NUMBER).astype(np.int64)).tolist())
            first += len(self._newest)
        fresh = np.flatnonzero(self._newest[: self._fresh] == buckets) // self._newest.shape[1]
        found.update((first + fresh).tolist())
        return np.array(sorted(found), np.int64)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
