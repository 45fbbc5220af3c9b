"""What the stored embeddings say: how many different things were asked, and a map of them.

Deduplication has embedded every accepted example already, so nothing is embedded here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from understudy.corpus.sample import SAMPLE, Even
from understudy.evals.diversity import vendi
from understudy.models.embedder import Matrix

COLUMNS = ["stage", "example", "text", "embedding"]
MAPPED = 500
"""Examples that are mapped: more would lie on top of one another."""


@dataclass(frozen=True, slots=True)
class Space:
    """An even sample of the accepted examples, as deduplication compares them."""

    admitted: int
    """How many drafts passed the gate."""
    accepted: int
    """How many accepted examples the index has."""
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    """What is compared: the instruction; of a request that is always the same, the answer; how a talk began."""
    vectors: Matrix | None
    """Unit vectors, shape (ids, dimensions); None where the corpus has none, or of several lengths."""

    @classmethod
    def of(cls, tables: Iterable[pa.Table]) -> Space:
        """Read the index; ids are hashes, so those with the smallest are an even sample."""
        sample: Even[tuple[str, str, bytes | None]] = Even(SAMPLE)
        admitted = 0
        for table in tables:
            for stage, id, text, vector in zip(*(table[name].to_pylist() for name in COLUMNS), strict=True):
                if stage == "final":
                    sample.add(int(id, 16), (id, text or "", vector))
                else:
                    admitted += stage == "gate"
        chosen = sorted(sample.items())
        vectors = [vector for *_, vector in chosen]
        same = len({None if vector is None else len(vector) for vector in vectors}) == 1
        matrix = None
        if same and vectors[0]:
            matrix = np.frombuffer(b"".join(vectors), np.float32).reshape(len(vectors), -1)  # type: ignore[arg-type]
        return cls(admitted, sample.seen, tuple(id for id, *_ in chosen), tuple(text for _, text, _ in chosen), matrix)

    def figures(self) -> dict[str, Any] | None:
        """The Vendi score (Friedman and Dieng, arXiv 2210.02410) of the sample, and its share of the sample's size.

        None without embeddings. 1 when all are the same, and the sample's size when no two are alike at all.
        """
        if self.vectors is None:
            return None
        score = vendi(self.vectors)
        n, dimensions = self.vectors.shape
        return {"n": n, "of": self.accepted, "dimensions": dimensions, "vendi": score, "share": score / n}

    def places(self) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Ids of at most 500 of the sample, and where they lie on a map, in 0..1, shape (ids, 2).

        t-SNE (van der Maaten and Hinton, 2008), as for maps of persona sets: distances mean something between
        neighbours only.
        """
        if self.vectors is None:
            return (), np.empty((0, 2))
        ids, vectors = self.ids[:MAPPED], self.vectors[:MAPPED]
        if len(ids) > 3:
            from sklearn.manifold import TSNE
            from threadpoolctl import threadpool_limits

            near = min(30.0, (len(ids) - 1) / 3)
            with threadpool_limits(1):  # with more threads the places differ from run to run, and it takes longer
                found = TSNE(perplexity=near, init="pca", random_state=0).fit_transform(vectors).astype(np.float64)
        else:
            found = np.arange(2.0 * len(ids)).reshape(-1, 2)
        low, high = found.min(axis=0), found.max(axis=0)
        return ids, (found - low) / np.where(high > low, high - low, 1)
