"""Both indexes as one question: is there already a text like this?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from understudy.dedup.minhash import PERMUTATIONS, MinHashIndex, signature
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

        Returns the match with an empty row, or None with the row that `restore` can enter again.
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
        if self._minhash:
            self._minhash.add([key], [text], np.asarray(row["signature"], dtype=np.uint32)[None])
        if self._semantic:
            self._semantic.add([key], np.asarray(row["embedding"], dtype=np.float32)[None])
        return None, row

    def restore(self, rows: pa.Table) -> None:
        """Enter rows that earlier offers returned; what they lack, or another embedder made, is computed anew."""
        keys, texts = rows["example"].to_pylist(), rows["text"].to_pylist()
        if self._minhash:
            minima = _matrix(rows["signature"], PERMUTATIONS)
            made = np.stack([signature(text) for text in texts]) if minima is None else minima.astype(np.uint32)
            self._minhash.add(keys, texts, made)
        if self._semantic:
            vectors = _matrix(rows["embedding"], self._semantic.embedder.dimensions)
            if vectors is None:
                vectors = np.stack([self._semantic.vector(text) for text in texts])
            self._semantic.add(keys, vectors)


def _matrix(column: pa.ChunkedArray, width: int) -> NDArray[Any] | None:
    """A column of lists as a matrix, unless one of the lists is missing or of another length."""
    lists = column.combine_chunks()
    if lists.null_count or not (pc.list_value_length(lists).to_numpy() == width).all():
        return None
    found: NDArray[Any] = lists.flatten().to_numpy().reshape(len(lists), width)
    return found
