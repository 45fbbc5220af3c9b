"""Both indexes as one question: is there already a text like this?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.dedup.minhash import MinHashIndex, minima
from understudy.dedup.semantic import SemanticIndex
from understudy.models import Embedder


@dataclass(frozen=True, slots=True)
class Match:
    """A text that is already there."""

    key: str
    by: str
    """`minhash` or `embedding`."""
    similarity: float


class PairIndex:
    """MinHash first, being cheap, then embeddings; either pass can be switched off with None."""

    def __init__(self, minhash: float | None, embedding: float | None, embedder: Embedder | None) -> None:
        self._minhash = MinHashIndex(minhash) if minhash is not None else None
        self._semantic = SemanticIndex(embedding, embedder) if embedding is not None and embedder else None

    def offer(self, key: str, text: str) -> tuple[Match | None, dict[str, Any]]:
        """Look for `text`, and enter it under `key` if nothing is near it.

        Returns the match, and else the row from which `restore` can enter it again.
        """
        row: dict[str, Any] = {"example": key, "text": text, "signature": None, "embedding": None}
        if self._minhash:
            signature = self._minhash.signature(text)
            if hit := self._minhash.nearest(text, signature):
                return Match(hit[0], "minhash", hit[1]), row
            row["signature"] = minima(signature).tolist()
        if self._semantic:
            vector = self._semantic.vector(text)
            if hit := self._semantic.nearest(vector):
                return Match(hit[0], "embedding", hit[1]), row
            row["embedding"] = vector.tolist()
        self.restore(row)
        return None, row

    def restore(self, row: dict[str, Any]) -> None:
        """Enter a row that an earlier `offer` returned."""
        key, text = row["example"], row["text"]
        if self._minhash:
            values = row["signature"]
            self._minhash.add(key, text, self._minhash.restore(values) if values else self._minhash.signature(text))
        if self._semantic:
            stored = row["embedding"]
            known = stored is not None and len(stored) == self._semantic.embedder.dimensions
            self._semantic.add(key, np.array(stored, dtype=np.float32) if known else self._semantic.vector(text))
