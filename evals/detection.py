"""Whether a classifier can tell synthetic rows from real ones: what no single column or pair shows.

0.5 is a coin, 1 is certainty. Cross-validated, so that nothing is judged by what it was learned from. SDMetrics'
LogisticDetection is 1 - max(0, 2 AUC - 1) of much the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.columns import Record
from understudy.evals.interval import Interval
from understudy.evals.table_space import TableSpace

_FOLDS = 5
_MOST = 5000
"""Most rows of either kind, evenly spread."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What one classifier can tell."""

    by: str
    auc: Interval
    """Synthetic rows from the sample's."""
    usual: Interval | None
    """The sample's rows from held-out ones: what it believes to see where there is nothing; None without them."""


def detection(
    synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], space: TableSpace, seed: int = 0
) -> tuple[Detection, ...]:
    """Logistic regression and boosted trees on the columns of a table space; nothing where rows are too few."""
    if not space.columns or min(len(synthetic), len(sample)) < 2 * _FOLDS:
        return ()
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    makers: dict[str, Callable[[], Any]] = {
        "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "boosted trees": lambda: HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, random_state=seed),
    }
    made, real, fresh = (space.points(_some(rows)) for rows in (synthetic, sample, holdout))
    # Trees on a few thousand rows: threads that wait for busy cores take longer than one that works.
    with threadpool_limits(1):
        return tuple(
            Detection(
                name, _auc(make(), made, real, seed),
                _auc(make(), fresh, real, seed) if len(fresh) >= 2 * _FOLDS else None,
            )
            for name, make in makers.items()
        )  # fmt: skip


def _some(rows: Sequence[Record]) -> list[Record]:
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, min(len(rows), _MOST))]


def _auc(model: Any, one: Any, other: Any, seed: int) -> Interval:
    """AUC of scores by models that had not seen the row, and its interval by Hanley and McNeil (1982)."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    points, labels = np.concatenate([one, other]), np.arange(len(one) + len(other)) < len(one)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(model, points, labels, cv=folds, method="predict_proba")[:, 1]
    auc = float(roc_auc_score(labels, scores))
    reach = 1.96 * auc_error(auc, len(one), len(other))
    return Interval(auc, max(0.0, auc - reach), min(1.0, auc + reach), len(points))


def auc_error(auc: float, yes: int, no: int) -> float:
    """Standard error of an AUC of so many positive and negative rows."""
    one, two = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (yes - 1) * (one - auc * auc) + (no - 1) * (two - auc * auc)
    return math.sqrt(max(0.0, spread) / (yes * no))
