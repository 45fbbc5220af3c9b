"""How much instructions follow a few templates: the commonest opening and the commonest skeleton.

A corpus of "What is the … of the …?" is varied word for word and yet one sentence; shares of openings were shown for
Self-Instruct (Wang et al., arXiv 2212.10560, figure 2, there by root verb), and part-of-speech templates by Shaib et
al., arXiv 2407.00211. The skeleton here needs no tagger: function words stand, each run of other words is a gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from understudy.evals.rules import STOP, words

OPENING = 3
SKELETON = 8
_SHOWN = 10
_GAP = "…"


def templates(texts: Iterable[str]) -> dict[str, Any] | None:
    """Shares of the commonest openings (first 3 words) and skeletons (of the first 8 words); None without a text.

    `openings` and `skeletons` are the ten commonest, each with count and share; `n` is the number of texts with any
    word.
    """
    openings: Counter[str] = Counter()
    skeletons: Counter[str] = Counter()
    for text in texts:
        if said := words(text):
            openings[" ".join(said[:OPENING])] += 1
            skeletons[skeleton(said)] += 1
    n = openings.total()
    if not n:
        return None
    return {"n": n, "openings": _commonest(openings, n), "skeletons": _commonest(skeletons, n)}


def skeleton(said: list[str]) -> str:
    """The first words of a text with a gap for each run of words that are not function words."""
    out: list[str] = []
    for word in said[:SKELETON]:
        piece = word if word in STOP else _GAP
        if piece != _GAP or out[-1:] != [_GAP]:
            out.append(piece)
    return " ".join(out)


def _commonest(counts: Counter[str], n: int) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"text": text, "count": count, "share": count / n} for text, count in ordered[:_SHOWN]]
