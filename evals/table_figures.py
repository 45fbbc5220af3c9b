"""All that can be said of a synthetic table, as plain figures: privacy first, then fidelity, then usefulness.

One call for a table of ours, at the end of a run, and for one of any other tool (`understudy table compare`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from understudy.columns import Record, Schema
from understudy.corpus.base_rate import drawn
from understudy.evals.detection import detection
from understudy.evals.fidelity import fidelity
from understudy.evals.privacy import privacy
from understudy.evals.row_privacy import RowPrivacy
from understudy.evals.useful import useful
from understudy.privacy import Privacy, Trend

VERSION = 1


def table_figures(
    synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], schema: Schema,
    limits: Privacy, trend: Trend, canaries: Sequence[Record] = (), rows: RowPrivacy | None = None, seed: int = 0,
    weights: Sequence[float] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure a table; what could not be measured is None and says why. The figures hold no cell of any row.

    Args:
        synthetic: what was written.
        sample: what it was made from, and shown to who wrote it.
        holdout: real rows that were not; may be empty.
        schema: of all of them.
        limits: what it may give away.
        trend: how near its columns and relations must be.
        canaries: made-up rows that were planted in the sample.
        rows: the verifiers of one row, if they are built already.
        seed: of all that is drawn.
        weights: what each synthetic row counts, where they were not written by the true shares: rows that are drawn by
            them are compared with the real ones, and models learn with them. Privacy is measured of all.
    """
    rows = rows or RowPrivacy.of(sample, holdout, schema, limits, canaries)
    like = synthetic if weights is None else drawn(synthetic, weights, seed)
    told = {
        "version": VERSION,
        "rows": {
            "synthetic": len(synthetic),
            "sample": len(sample),
            "holdout": len(holdout),
            "unfit": 0,
            "alike": None if weights is None else len(like),
        },
        "columns": {name: column.type for name, column in schema.items()},
        "privacy": privacy(synthetic, sample, holdout, schema, limits, canaries, rows).figures(),
        "fidelity": fidelity(like, sample, holdout, schema, trend, seed).figures(),
        "detection": [asdict(one) for one in detection(like, sample, holdout, rows.space, seed)],
        "useful": useful(synthetic, sample, holdout, schema, seed, weights).figures(),
    }
    return cast("dict[str, Any]", _plain(told))


def _plain(value: Any) -> Any:
    """What JSON can say: lists for tuples, None for what is not a number."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
