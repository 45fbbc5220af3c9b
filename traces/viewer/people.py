"""Where personas stand to one another, by what was asked on their behalf."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.corpus import RunFolder
from understudy.traces.charts import Point, cut
from understudy.traces.summary import Summary

MOST = 20_000
"""Drafts that are read for the map: the first that passed the gate, an even sample since the plan is shuffled."""
# Of a persona's drafts, so many accepted at least; the last group has less.
_GROUPS = (0.5, 0.2)


def mapped(folder: RunFolder, summary: Summary, people: Sequence[dict[str, Any]]) -> tuple[list[Point], int]:
    """A point for each persona at the mean of its drafts' embeddings, and how many drafts were read.

    The embeddings are those that the near-duplicate gate kept; the places are the first two principal components.
    `people` are rows of `tables.personas`.
    """
    ids, vectors = _embeddings(folder)
    rows = summary.rows("SELECT id, persona FROM drafts WHERE id IN (SELECT unnest($ids))", ids=ids)
    whose = {row["id"]: row["persona"] for row in rows}
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, id in enumerate(ids):
        if persona := whose.get(id):
            places[persona].append(place)
    shown = [one for one in people if one["id"] in places]
    if len(shown) < 3:  # two are always as far apart as the map is wide
        return [], len(ids)
    means = np.stack([vectors[places[one["id"]]].mean(axis=0) for one in shown])
    return [
        Point(
            float(x), float(y), _group(one["accepted"] / one["drafts"]),
            f"{cut(one['text'], 120)} ({one['accepted']} of {one['drafts']} accepted, {one['duplicate']} duplicates)",
        )
        for one, (x, y) in zip(shown, _flat(means), strict=True)
    ], len(ids)  # fmt: skip


def _embeddings(folder: RunFolder) -> tuple[list[str], NDArray[np.float32]]:
    ids, vectors = list[str](), list[bytes]()
    for table in folder.index(["stage", "example", "embedding"]):
        for row in table.to_pylist():
            if row["stage"] == "gate" and row["embedding"] is not None and len(ids) < MOST:
                ids.append(row["example"])
                vectors.append(row["embedding"])
        if len(ids) == MOST:
            break
    return ids, np.frombuffer(b"".join(vectors), np.float32).reshape(len(ids), -1) if ids else np.empty(
        (0, 0), np.float32
    )


def _flat(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The first two principal components, in 0..1; the same for the same vectors."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    flat = left[:, :2] * strength[:2]
    flat *= np.where(flat[np.abs(flat).argmax(axis=0), range(flat.shape[1])] < 0, -1, 1)  # a sign is arbitrary
    low, high = flat.min(axis=0), flat.max(axis=0)
    found: NDArray[np.float64] = (flat - low) / np.where(high > low, high - low, 1.0)
    return found


def _group(share: float) -> int:
    return next((place for place, least in enumerate(_GROUPS) if share >= least), len(_GROUPS))
