"""Texts that mean the same: sketches of their vectors propose, exact cosine similarity decides.

A sketch says on which side of 512 random planes a vector lies (Charikar, Similarity estimation techniques from rounding
algorithms, STOC 2002): two vectors at an angle a differ in each bit with probability a/pi, independently. So the
Hamming distance of a pair at the threshold is binomial, and a radius around it misses such a pair once in a million,
closer ones less often still. Sketches, 64 bytes each, are looked through on disk, a page at a time, and the vectors
themselves are read only where a sketch proposes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import chain, count

import faiss
import numpy as np
from numpy.typing import NDArray

from understudy.corpus.scratch import Database, Pages, Records
from understudy.models import Embedder
from understudy.models.embedder import Matrix

BITS = 512
_MISSED = 1e-6
_DIGITS = 6  # of a cosine; float32 vectors carry hardly more
_SAME = 1 - 0.5 * 10**-_DIGITS  # from here on a cosine is 1, as is that of a text with itself
_PAGE = 16_384  # sketches: 1 MiB
_BLOCK = 256  # vectors compared at once, so that a low threshold, which proposes nearly all, takes time but no memory


class SemanticIndex:
    """Vectors by key; `nearest` finds the closest one above the threshold."""

    def __init__(self, threshold: float, embedder: Embedder) -> None:
        self.threshold = threshold
        self.embedder = embedder
        self._radius = reach(threshold)
        self._newest = np.empty((_PAGE, BITS // 8), np.uint8)
        self._fresh = 0
        self._pages = Pages(self._newest.shape, np.uint8)
        self._vectors = Records(4 * embedder.dimensions)
        self._keys = Database("CREATE TABLE keys(place INTEGER PRIMARY KEY, key TEXT NOT NULL)")

    def vector(self, text: str) -> Matrix:
        """The unit vector of one text, shape (dimensions,).

        One text at a time: in a batch, the padding of its neighbours would change its last digits.
        """
        vector: Matrix = self.embedder.embed([text])[0]
        return vector

    def nearest(self, vector: Matrix) -> tuple[str, float] | None:
        """The key and cosine of the closest vector above the threshold; ties go to the earliest."""
        found = closest(self._vectors, self._proposed(vector), vector)
        if found is None or not (found[1] > self.threshold or found[1] == 1):
            return None
        best, score = found
        ((key,),) = self._keys.read("SELECT key FROM keys WHERE place = ?", (best,))
        return key, score

    def add(self, keys: Sequence[str], vectors: Matrix) -> None:
        """Enter unit vectors, shape (keys, dimensions)."""
        first = len(self._vectors)
        self._keys.write("INSERT INTO keys VALUES (?, ?)", zip(count(first), keys, strict=False))
        self._vectors.extend(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
        sketches = sketch(vectors)
        while len(sketches):
            part = sketches[: _PAGE - self._fresh]
            self._newest[self._fresh : self._fresh + len(part)] = part
            self._fresh += len(part)
            sketches = sketches[len(part) :]
            if self._fresh == _PAGE:
                self._pages.append(self._newest)
                self._fresh = 0

    def _proposed(self, vector: Matrix) -> NDArray[np.int64]:
        """The places of the vectors whose sketches lie within the radius, in order."""
        asked = sketch(vector[None])
        found = [np.empty(0, dtype=np.int64)]
        for number, page in enumerate(chain(self._pages, [self._newest[: self._fresh]])):
            found.append(within(self._radius, asked, page)[0] + number * _PAGE)
        return np.sort(np.concatenate(found))


def within(
    radius: int, asked: NDArray[np.uint8], sketches: NDArray[np.uint8], threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which sketches, shape (n, 64), differ from those asked for, shape (q, 64), in that many bits at most.

    Returns the numbers of the sketches, and where those of each that was asked for begin and end, shape (q + 1,).
    """
    # For one query a team of threads only waits for one another; the setting is of the calling thread alone.
    faiss.omp_set_num_threads(threads)
    found = faiss.RangeSearchResult(len(asked))
    ours, theirs = faiss.swig_ptr(asked), faiss.swig_ptr(sketches)
    # FAISS means distances below the number that it is given.
    faiss.hamming_range_search(ours, theirs, len(asked), len(sketches), radius + 1, asked.shape[1], found)  # type: ignore[attr-defined]  # not in its stubs
    limits: NDArray[np.int64] = faiss.rev_swig_ptr(found.lims, len(asked) + 1).astype(np.int64)
    places: NDArray[np.int64] = faiss.rev_swig_ptr(found.labels, int(limits[-1])).copy()
    return places, limits


def closest(vectors: Records, places: NDArray[np.int64], vector: Matrix) -> tuple[int, float] | None:
    """Which of the vectors at these places, in order, is closest to one, and their cosine; ties go to the first."""
    best: tuple[int, float] | None = None
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        near = np.frombuffer(b"".join(vectors[place] for place in block.tolist()), dtype=np.float32)
        # Rounded, so that neither a tie nor the threshold hangs on how many vectors stand in the block.
        cosines = np.round(near.reshape(len(block), -1).astype(np.float64) @ vector.astype(np.float64), _DIGITS)
        top = int(cosines.argmax())
        if best is None or cosines[top] > best[1]:
            best = int(block[top]), float(cosines[top])
    return best


def sketch(vectors: Matrix) -> NDArray[np.uint8]:
    """On which side of each plane each of (n, dimensions) vectors lies, shape (n, 64): 512 bits."""
    return np.packbits(vectors @ _planes(vectors.shape[1]) > 0, axis=1)


@cache
def _planes(dimensions: int) -> Matrix:
    """Normals of the random planes, shape (dimensions, 512); this generator's stream is frozen for good."""
    return np.random.RandomState(0).standard_normal((dimensions, BITS)).astype(np.float32)


def reach(threshold: float) -> int:
    """The radius within which vectors above a threshold are looked for."""
    return radius(min(threshold, _SAME))


def radius(cosine: float) -> int:
    """The least Hamming distance that all but one in a million pairs at this cosine keep within."""
    differ = math.acos(cosine) / math.pi
    chance, within = (1 - differ) ** BITS, 0.0
    for distance in range(BITS):
        within += chance
        if within >= 1 - _MISSED:
            return distance
        chance *= (BITS - distance) / (distance + 1) * differ / (1 - differ)
    return BITS
