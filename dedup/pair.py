"""Both indexes as one question: is there already a text like this?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.dedup.minhash import MinHashIndex, signature
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

    def offer(self, key: str, text: str, known: dict[str, Any] | None = None) -> tuple[Match | None, dict[str, Any]]:
        """Look for `text`, and enter it under `key` if nothing is near it.

        `known` may be the row of an earlier offer: if that was of the same text, nothing is computed again.

        Returns the match with an empty row, or None with the row from which `restore` can enter it again.
        """
        row: dict[str, Any] = {"example": key, "text": text, "signature": None, "embedding": None}
        known = known if known and known["text"] == text else row
        if self._minhash:
            row["signature"] = signature(text) if known["signature"] is None else known["signature"]
            if hit := self._minhash.nearest(text, row["signature"]):
                return Match(hit[0], "minhash", hit[1]), {}
        if self._semantic:
            row["embedding"] = self._semantic.vector(text) if known["embedding"] is None else known["embedding"]
            if hit := self._semantic.nearest(row["embedding"]):
                return Match(hit[0], "embedding", hit[1]), {}
        self.restore(row)
        return None, row

    def restore(self, row: dict[str, Any]) -> None:
        """Enter a row that an earlier `offer` returned."""
        key, text = row["example"], row["text"]
        if self._minhash:
            stored = row["signature"]
            minima = signature(text) if stored is None else np.asarray(stored, dtype=np.uint32)
            self._minhash.add(key, text, minima)
        if self._semantic:
            stored = row["embedding"]
            usable = stored is not None and len(stored) == self._semantic.embedder.dimensions
            self._semantic.add(key, np.asarray(stored, dtype=np.float32) if usable else self._semantic.vector(text))
