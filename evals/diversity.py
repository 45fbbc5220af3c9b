"""How varied a corpus is, from its text alone, in memory that does not grow with it."""

from __future__ import annotations

import hashlib
import heapq
import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from understudy.models import Embedder
from understudy.models.embedder import Matrix

_WORD = re.compile(r"\w+")
# Measures that compare examples with one another look at this many of them.
SAMPLE = 2000


def measures(conversations: Iterable[list[dict[str, str]]], embedder: Embedder | None = None) -> dict[str, float]:
    """Diversity figures of chat examples.

    `distinct-1..3` is the share of different n-grams among all n-grams of the answers (Li et al., arXiv
    1510.03055); `compression` is raw size over zlib size of the instructions and answers, where higher means
    more repetition; `answer-words` is the mean length. With an embedder, `coverage` is the Vendi score of the
    instructions (Friedman and Dieng, arXiv 2210.02410) over their number: 1 when no two are alike.

    `answer-words` is of all examples. The others are of all up to 2000, and else of the 2000 whose texts have the
    smallest hashes: an even sample that is the same in whatever order the examples come. Corpora above that size are
    so compared at equal size; a share of different n-grams falls as text is added.
    """
    sample: list[tuple[int, int, str, str]] = []
    count = words = 0
    for messages in conversations:
        asked, said = messages[0]["content"], messages[-1]["content"]
        words += len(_words(said))
        text = f"{asked}\0{said}".encode("utf-8", "surrogatepass")
        # Largest hash first: the one that leaves the sample when a smaller one comes.
        item = (-int.from_bytes(hashlib.blake2b(text, digest_size=16).digest()), count, asked, said)
        if count < SAMPLE:
            heapq.heappush(sample, item)
        elif item > sample[0]:
            heapq.heapreplace(sample, item)
        count += 1
    if not count:
        return {}
    # As they came if they are all here, and else in an order that does not depend on how they came.
    chosen = sorted(sample, key=lambda item: item[1 if count <= SAMPLE else 0])
    instructions, answers = [item[2] for item in chosen], [item[3] for item in chosen]
    out = {f"distinct-{n}": distinct((_words(answer) for answer in answers), n) for n in (1, 2, 3)}
    out["compression"] = compression([*instructions, *answers])
    out["answer-words"] = words / count
    if embedder is not None:
        out["coverage"] = vendi(embedder.embed(instructions)) / len(instructions)
    return out


def distinct(texts: Iterable[Sequence[str]], n: int) -> float:
    """Different n-grams over all n-grams, in 0..1; 0 when there is none."""
    numbers: dict[str, int] = {}
    coded = [np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64) for words in texts]
    grams = [np.lib.stride_tricks.sliding_window_view(words, n) for words in coded if len(words) >= n]
    if not grams:
        return 0.0
    # One number for each n-gram, read off its words' numbers; renumbered at each step, so that none overflows.
    every = np.concatenate(grams)
    names = every[:, 0]
    for place in range(1, n):
        _, names = np.unique(names * len(numbers) + every[:, place], return_inverse=True)
    return len(np.unique(names)) / len(names)


def compression(texts: Sequence[str]) -> float:
    """Raw size over zlib size of the texts, each on lines of its own."""
    packer, raw, packed = zlib.compressobj(9), 0, 0
    for number, text in enumerate(texts):
        piece = ("\n" if number else "").encode() + text.encode("utf-8", "surrogatepass")
        raw += len(piece)
        packed += len(packer.compress(piece))
    return raw / (packed + len(packer.flush()))


def vendi(vectors: Matrix) -> float:
    """The effective number of different items: exp of the entropy of the similarity matrix's spectrum.

    For unit vectors X of shape (n, d) the non-zero eigenvalues of XXᵀ/n are those of XᵀX/n, so the cost
    is that of the smaller one.
    """
    n, d = vectors.shape
    gram = (vectors @ vectors.T if n < d else vectors.T @ vectors) / n
    values = np.linalg.eigvalsh(gram.astype(np.float64))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
