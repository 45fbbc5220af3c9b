"""How varied a corpus is, from its text alone, in memory that does not grow with it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from understudy.corpus.sample import SAMPLE, Even
from understudy.evals.rules import words
from understudy.models import Embedder
from understudy.models.embedder import Matrix


class Diversity:
    """Diversity figures, taken in example by example; `measures` says which."""

    def __init__(self) -> None:
        self._sample: Even[tuple[str, str]] = Even(SAMPLE)
        self._words = 0

    def add(self, asked: str, said: str, count: int | None = None) -> None:
        """Take in an example: what was asked first and said last, and the words of that if they are counted."""
        self._words += len(words(said)) if count is None else count
        text = f"{asked}\0{said}".encode("utf-8", "surrogatepass")
        self._sample.add(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest()), (asked, said))

    @property
    def sampled(self) -> int:
        """How many examples those figures rest on that do not rest on all."""
        return min(self._sample.seen, SAMPLE)

    def figures(self, embedder: Embedder | None = None) -> dict[str, float]:
        """The figures by name; none of a corpus without examples."""
        if not self._sample.seen:
            return {}
        chosen = self._sample.items()
        instructions, answers = [asked for asked, _ in chosen], [said for _, said in chosen]
        out = {f"distinct-{n}": distinct((words(answer) for answer in answers), n) for n in (1, 2, 3)}
        out["compression"] = compression([*instructions, *answers])
        out["answer-words"] = self._words / self._sample.seen
        if embedder is not None:
            out["coverage"] = vendi(embedder.embed(instructions)) / len(instructions)
        return out


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
    found = Diversity()
    for messages in conversations:
        found.add(messages[0]["content"], messages[-1]["content"])
    return found.figures(embedder)


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
