"""How varied a corpus is, from its text alone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

import numpy as np

from understudy.models import Embedder
from understudy.models.embedder import Matrix

_WORD = re.compile(r"\w+")
# Measures that compare all pairs look at this many examples, evenly spread; the figure is stable well before.
_SAMPLE = 1000


def measures(conversations: Iterable[list[dict[str, str]]], embedder: Embedder | None = None) -> dict[str, float]:
    """Diversity figures of chat examples.

    `distinct-1..3` is the share of different n-grams among all n-grams of the answers (Li et al., arXiv
    1510.03055); `compression` is raw size over zlib size of the instructions and answers, where higher means
    more repetition; `answer-words` is the mean length. With an embedder, `coverage` is the Vendi score of the
    instructions (Friedman and Dieng, arXiv 2210.02410) over their number: 1 when no two are alike.
    """
    asked: list[str] = []
    said: list[str] = []
    for messages in conversations:
        asked.append(messages[0]["content"])
        said.append(messages[-1]["content"])
    if not said:
        return {}
    answers = [_WORD.findall(text.casefold()) for text in said]
    raw = "\n".join([*asked, *said]).encode("utf-8", "surrogatepass")
    out = {f"distinct-{n}": distinct(answers, n) for n in (1, 2, 3)}
    out["compression"] = len(raw) / len(zlib.compress(raw, 9))
    out["answer-words"] = float(np.mean([len(words) for words in answers]))
    if embedder is not None:
        step = max(1, len(asked) // _SAMPLE)
        sample = asked[::step]
        out["coverage"] = vendi(embedder.embed(sample)) / len(sample)
    return out


def distinct(texts: list[list[str]], n: int) -> float:
    """Different n-grams over all n-grams, in 0..1; 0 when there is none."""
    grams = [gram for words in texts for gram in zip(*(words[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else 0.0


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
