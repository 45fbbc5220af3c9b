"""Near-copies within a whole set of texts: the same two passes as `PairIndex`, for all texts at once.

The texts are looked at in a given order, and each is compared with those that stay so far. In place of an index of all
buckets, the buckets are sorted once and those with a single text forgotten, which leaves next to nothing to look up:
128 bytes a text in memory, and 64 for its sketch; vectors lie on disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.corpus.scratch import Records
from understudy.dedup.minhash import bands, buckets, jaccard, shingles, signature
from understudy.dedup.semantic import BITS, closest, reach, sketch, within
from understudy.models import Embedder

Watch = Callable[[str, int], None]
"""Told what is being done, and how many texts are done."""
_CHUNK = 4096
_EMBED = 256


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Why a text is left out."""

    kept: int
    """The number of the text that stays."""
    by: str
    """`minhash` or `embedding`."""
    similarity: float


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
    within_bits = reach(threshold)
    sketches = np.empty((len(texts), BITS // 8), np.uint8)
    vectors = Records(4 * embedder.dimensions)
    stays = np.ones(len(texts), bool)
    out: dict[int, tuple[int, float]] = {}
    for start in range(0, len(texts), _EMBED):
        made = np.ascontiguousarray(embedder.embed(list(texts[start : start + _EMBED])), np.float32)
        vectors.extend(made.tobytes())
        end = start + len(made)
        sketches[start:end] = sketch(made)
        places, limits = within(within_bits, sketches[start:end], sketches[:end], threads=0)
        for row, text in enumerate(range(start, end)):
            near = np.sort(places[limits[row] : limits[row + 1]])
            near = near[(near < text) & stays[near]]
            best = closest(vectors, near, made[row])
            if best and (best[1] > threshold or best[1] == 1):
                out[text] = best
                stays[text] = False
        if watch:
            watch("embeddings", end)
    return out


def near_copies(
    texts: Sequence[str],
    minhash: float | None,
    embedding: float | None,
    embedder: Embedder | None,
    watch: Watch | None = None,
) -> dict[int, NearCopy]:
    """Both passes, MinHash first; either is left out with None.

    Returns what is to be left out, by its number in the order of the texts.
    """
    found = same_words(texts, minhash, watch) if minhash is not None else {}
    out = {text: NearCopy(kept, "minhash", share) for text, (kept, share) in found.items()}
    if embedding is not None and embedder is not None:
        left = [text for text in range(len(texts)) if text not in out]
        more = same_meaning([texts[text] for text in left], embedding, embedder, watch)
        out |= {left[text]: NearCopy(left[kept], "embedding", share) for text, (kept, share) in more.items()}
    return out
