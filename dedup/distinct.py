"""Near-copies within a whole set of texts: the same two passes as `PairIndex`, for all texts at once.

The texts are looked at in a given order, and each is compared with those that stay so far. In place of an index of all
buckets, the buckets are sorted once and those with a single text forgotten, which leaves next to nothing to look up:
128 bytes a text in memory, and 64 for its sketch; vectors lie on disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.corpus.scratch import Records
from understudy.dedup.minhash import bands, buckets, jaccard, shingles, signature
from understudy.dedup.pair import Match
from understudy.dedup.semantic import BITS, radius, sketch, within
from understudy.models import Embedder

Watch = Callable[[str, int], None]
"""Told what is being done, and how many texts are done."""
_CHUNK = 4096
_EMBED = 256
_DIGITS = 6


def same_words(texts: Sequence[str], threshold: float, watch: Watch | None = None) -> dict[int, tuple[int, float]]:
    """By the number of each text to be left out: the earlier one that it is nearest to, and their exact Jaccard.

    A text is left out if its Jaccard with one that stays is above the threshold, or 1.
    """
    shape = bands(threshold)
    hashed = np.empty((len(texts), shape[0]), np.uint64)
    for start in range(0, len(texts), _CHUNK):
        chunk = [signature(text) for text in texts[start : start + _CHUNK]]
        hashed[start : start + len(chunk)] = buckets(np.stack(chunk), shape)
        if watch:
            watch("MinHash", start + len(chunk))
    meeting: dict[int, list[int]] = defaultdict(list)
    """By text, the buckets that it shares, numbered."""
    number = 0
    for band in range(shape[0]):
        column = hashed[:, band]
        order = np.argsort(column, kind="stable")
        same = column[order[1:]] == column[order[:-1]]
        for first in np.flatnonzero(same & ~np.concatenate(([False], same[:-1]))):
            last = first + 1
            while last < len(same) and same[last]:
                last += 1
            for text in order[first : last + 1].tolist():
                meeting[text].append(number)
            number += 1
    staying: dict[int, list[int]] = defaultdict(list)
    """By bucket, the texts in it that stay."""
    out: dict[int, tuple[int, float]] = {}
    for text in sorted(meeting):
        words = shingles(texts[text])
        best = (-1, 0.0)
        for other in sorted({other for bucket in meeting[text] for other in staying[bucket]}):
            share = jaccard(words, shingles(texts[other]))
            if share > best[1]:
                best = (other, share)
        if best[1] > threshold or best[1] == 1:
            out[text] = best
        else:
            for bucket in meeting[text]:
                staying[bucket].append(text)
    return out


def same_meaning(
    texts: Sequence[str], threshold: float, embedder: Embedder, watch: Watch | None = None
) -> dict[int, tuple[int, float]]:
    """The same by the cosine of embeddings."""
    reach = radius(min(threshold, 1 - 0.5 * 10**-_DIGITS))
    sketches = np.empty((len(texts), BITS // 8), np.uint8)
    vectors = Records(4 * embedder.dimensions)
    stays = np.ones(len(texts), bool)
    out: dict[int, tuple[int, float]] = {}
    for start in range(0, len(texts), _EMBED):
        made = np.ascontiguousarray(embedder.embed(list(texts[start : start + _EMBED])), np.float32)
        vectors.extend(made.tobytes())
        end = start + len(made)
        sketches[start:end] = sketch(made)
        places, limits = within(reach, sketches[start:end], sketches[:end], threads=0)
        for row, text in enumerate(range(start, end)):
            near = np.sort(places[limits[row] : limits[row + 1]])
            near = near[(near < text) & stays[near]]
            best = _closest(vectors, near, made[row])
            if best and (best[1] > threshold or best[1] == 1):
                out[text] = best
                stays[text] = False
        if watch:
            watch("embeddings", end)
    return out


def _closest(vectors: Records, places: NDArray[np.int64], vector: NDArray[np.float32]) -> tuple[int, float] | None:
    if not len(places):
        return None
    near = np.frombuffer(b"".join(vectors[place] for place in places.tolist()), np.float32)
    cosines = np.round(near.reshape(len(places), -1).astype(np.float64) @ vector.astype(np.float64), _DIGITS)
    top = int(cosines.argmax())
    return int(places[top]), float(cosines[top])


def near_copies(
    texts: Sequence[str],
    minhash: float | None,
    embedding: float | None,
    embedder: Embedder | None,
    watch: Watch | None = None,
) -> dict[int, tuple[int, Match]]:
    """Both passes, MinHash first; either is left out with None.

    Returns, by the number of each text to be left out, the number of the one that stays and how near they are.
    """
    found = same_words(texts, minhash, watch) if minhash is not None else {}
    out = {text: (other, Match(str(other), "minhash", share)) for text, (other, share) in found.items()}
    if embedding is not None and embedder is not None:
        left = [text for text in range(len(texts)) if text not in out]
        more = same_meaning([texts[text] for text in left], embedding, embedder, watch)
        out |= {left[text]: (left[other], Match(str(left[other]), "embedding", share))
                for text, (other, share) in more.items()}  # fmt: skip
    return out
