"""Texts that mean the same: cosine similarity in a FAISS index of unit vectors."""

from __future__ import annotations

import faiss
import numpy as np

from understudy.models import Embedder
from understudy.models.embedder import Matrix


class SemanticIndex:
    """Vectors by key, searched exactly (inner product of unit vectors is their cosine)."""

    def __init__(self, threshold: float, embedder: Embedder) -> None:
        self.threshold = threshold
        self.embedder = embedder
        self._index = faiss.IndexFlatIP(embedder.dimensions)
        self._keys: list[str] = []

    def vector(self, text: str) -> Matrix:
        """The unit vector of one text, shape (dimensions,).

        One text at a time: in a batch, the padding of its neighbours would change its last digits.
        """
        vector: Matrix = self.embedder.embed([text])[0]
        return vector

    def nearest(self, vector: Matrix) -> tuple[str, float] | None:
        """The key and cosine of the closest vector above the threshold."""
        if not self._keys:
            return None
        scores, places = self._index.search(vector[None, :], 1)
        score = min(1.0, float(scores[0, 0]))
        near = score > self.threshold or score > 1 - 1e-6  # the same text, up to rounding
        return (self._keys[int(places[0, 0])], score) if near else None

    def add(self, key: str, vector: Matrix) -> None:
        """Enter a vector."""
        self._index.add(np.ascontiguousarray(vector[None, :], dtype=np.float32))
        self._keys.append(key)
