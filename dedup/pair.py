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

        Returns the match with an empty row, or None with the row that `restore` can enter again: signature and
        embedding as bytes, little-endian.
        """
        row: dict[str, Any] = {"example": key, "text": text, "signature": None, "embedding": None}
        known = known if known and known["text"] == text else row
        if self._minhash:
            stored = known["signature"]
            minima = signature(text) if stored is None else np.frombuffer(stored, np.uint32)
            row["signature"] = minima.tobytes()
            if hit := self._minhash.nearest(text, minima):
                return Match(hit[0], "minhash", hit[1]), {}
        if self._semantic:
            stored = known["embedding"]
            vector = self._semantic.vector(text) if stored is None else np.frombuffer(stored, np.float32)
            row["embedding"] = vector.astype(np.float32).tobytes()
            if hit := self._semantic.nearest(vector):
                return Match(hit[0], "embedding", hit[1]), {}
            self._semantic.add([key], vector[None])
        if self._minhash:
            self._minhash.add([key], [text], minima[None])
        return None, row

    def restore(self, rows: pa.Table) -> None:
        """Enter rows that earlier offers returned; what they lack, or another embedder made, is computed anew."""
        if not len(rows):
            return
        keys, texts = rows["example"].to_pylist(), rows["text"].to_pylist()
        if self._minhash:
            minima = _matrix(rows["signature"], PERMUTATIONS, np.uint32)
            self._minhash.add(keys, texts, np.stack([signature(t) for t in texts]) if minima is None else minima)
        if self._semantic:
            vectors = _matrix(rows["embedding"], self._semantic.embedder.dimensions, np.float32)
            self._semantic.add(
                keys, np.stack([self._semantic.vector(t) for t in texts]) if vectors is None else vectors
            )


def _matrix(column: pa.ChunkedArray, width: int, kind: type[np.generic]) -> NDArray[Any] | None:
    """A column of bytes as a matrix, unless a row is missing or of another length."""
    size = width * np.dtype(kind).itemsize
    if column.null_count or not pc.all(pc.equal(pc.binary_length(column), size)).as_py():
        return None
    whole = b"".join(column.to_pylist())
    found: NDArray[Any] = np.frombuffer(whole, kind).reshape(len(column), width)
    return found
