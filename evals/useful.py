"""What a model learns from synthetic rows, measured on real ones that neither it nor their writer has seen.

TSTR, train on synthetic and test on real, beside TRTR, train on the real sample and test on the same rows (Esteban et
al., arXiv 1706.02633). Two plain models for each target, so that what is compared is the rows. Free text is not among
their inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.columns import Cell, Record, Schema, targets, used
from understudy.evals.interval import Interval, Picks, Statistic, bootstrap, bootstrap_difference
from understudy.evals.table_space import Matrix, TableSpace

_ROUNDS = 500
_MOST = 20_000
"""Most rows that a model is trained on."""
Labels = NDArray[np.int64]
Measure = Callable[[Matrix], Statistic]
"""Of predictions, what samples of rows of the test come to."""


@dataclass(frozen=True, slots=True)
class Score:
    """One model, one target, one measure."""

    target: str
    model: str
    measure: str
    """`accuracy`, `macro-F1`, `AUC` of a category; `R2` and `MAE`, mean absolute error, of a number."""
    synthetic: Interval
    """Trained on synthetic rows."""
    real: Interval
    """Trained on the real sample."""
    difference: Interval
    """Synthetic minus real, on the same samples of test rows; of MAE, lower is better."""


@dataclass(frozen=True, slots=True)
class Useful:
    """All scores, and what had to be left out."""

    scores: tuple[Score, ...]
    trained: dict[str, int]
    """Rows that were trained on, `synthetic` and `real`, and tested on, `test`."""
    open: tuple[str, ...]
    """What was not measured, and why."""

    def figures(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def useful(
    synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], schema: Schema, seed: int = 0,
    weights: Sequence[float] | None = None,
) -> Useful:  # fmt: skip
    """Train on synthetic rows and on the sample, and test both on the hold-out.

    Args:
        synthetic: what was written.
        sample: what it was made from.
        holdout: what both are tested on; without it nothing is measured.
        schema: whose columns with `role: target` are learned.
        seed: of the models and of the bootstrap.
        weights: what each synthetic row counts in training; None: all the same.
    """
    counts = {"synthetic": min(_MOST, len(synthetic)), "real": min(_MOST, len(sample)), "test": len(holdout)}
    if not holdout:
        return Useful((), counts, ("Not measured: there are no held-out real rows to test on.",))
    aims = targets(schema)
    if not aims:
        return Useful((), counts, ("Not measured: the schema has no column with `role: target`.",))
    scores, left = list[Score](), list[str]()
    inputs = {name: column for name, column in used(schema).items() if column.role == "input"}
    space = TableSpace.of(sample, inputs)
    if not space.columns:
        return Useful((), counts, ("Not measured: no input is a number or a category.",))
    for aim in aims:
        if schema[aim].type == "text":
            left.append(f"{aim}: not measured, as free text is not learned here.")
            continue
        tables = [
            _Learned.of(rows[:_MOST], aim, how) for rows, how in ((synthetic, weights), (sample, None))
        ]  # fmt: skip
        test = [row for row in holdout if row.get(aim) is not None]
        if schema[aim].numeric:
            found, why = _numbers(aim, tables, test, space, seed)
        else:
            found, why = _categories(aim, schema[aim].categories, tables, test, space, seed)
        scores += found
        left += [f"{aim}: {why}"] if why else []
    return Useful(tuple(scores), counts, tuple(left))


@dataclass(frozen=True, slots=True)
class _Learned:
    """Rows whose target is known, and what each counts."""

    rows: list[Record]
    weights: Matrix | None

    @classmethod
    def of(cls, rows: Sequence[Record], aim: str, weights: Sequence[float] | None) -> _Learned:
        known = [place for place, row in enumerate(rows) if row.get(aim) is not None]
        return cls(
            [rows[place] for place in known],
            None if weights is None else np.asarray(weights, float)[known],
        )

    def teach(self, model: Any, space: TableSpace, truth: Any) -> Any:
        """Fit a model; of a pipeline, its last step has the weights."""
        last = f"{model.steps[-1][0]}__" if hasattr(model, "steps") else ""
        more = {} if self.weights is None else {f"{last}sample_weight": self.weights}
        return model.fit(space.points(self.rows), truth, **more)


def _categories(
    aim: str, values: Sequence[str], tables: Sequence[_Learned], test: list[Record], space: TableSpace, seed: int
) -> tuple[list[Score], str | None]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes: dict[Cell, int] = {value: number for number, value in enumerate(values)}
    truth, *given = ([codes.get(row[aim], -1) for row in rows] for rows in (test, *(table.rows for table in tables)))
    for what, labels in zip(("synthetic rows", "sample"), given, strict=True):
        if len(set(labels)) < 2:
            return [], f"not measured, as the {what} have fewer than two of its values."
    if not test:
        return [], "not measured, as no held-out row has it."
    real = np.array(truth)
    makers: dict[str, Callable[[], Any]] = {
        "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "random forest": lambda: RandomForestClassifier(200, random_state=seed),
    }
    measures: dict[str, Measure] = {
        "accuracy": lambda odds: _accuracy(real, odds.argmax(axis=1)),
        "macro-F1": lambda odds: _macro_f1(real, odds.argmax(axis=1)),
        "AUC": lambda odds: _auc(real, odds),
    }
    found = []
    for name, make in makers.items():
        odds = []
        for table, labels in zip(tables, given, strict=True):
            model = table.teach(make(), space, labels)
            spread = np.zeros((len(test), len(values) + 1))
            # A value that was not in the training rows has no odds; one that the schema does not know is the last.
            spread[:, model.classes_] = model.predict_proba(space.points(test))
            odds.append(spread)
        found += [_score(aim, name, kind, measure, odds, len(test), seed) for kind, measure in measures.items()]
    return found, None


def _numbers(
    aim: str, tables: Sequence[_Learned], test: list[Record], space: TableSpace, seed: int
) -> tuple[list[Score], str | None]:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if min(map(len, (*(table.rows for table in tables), test))) < 2:
        return [], "not measured, as fewer than two rows have it."
    truth, *given = (np.array([row[aim] for row in rows], float) for rows in (test, *(table.rows for table in tables)))
    makers: dict[str, Callable[[], Any]] = {
        "ridge regression": lambda: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))),
        "random forest": lambda: RandomForestRegressor(200, random_state=seed),
    }
    measures: dict[str, Measure] = {"R2": lambda said: _r2(truth, said), "MAE": lambda said: _mae(truth, said)}
    found = []
    for name, make in makers.items():
        said = [
            table.teach(make(), space, values).predict(space.points(test))
            for table, values in zip(tables, given, strict=True)
        ]
        found += [_score(aim, name, kind, measure, said, len(test), seed) for kind, measure in measures.items()]
    return found, None


def _score(aim: str, model: str, kind: str, measure: Measure, said: Sequence[Matrix], n: int, seed: int) -> Score:
    made, real = (measure(one) for one in said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = (bootstrap(each, n, rounds=_ROUNDS, seed=seed) for each in (made, real))
        gap = bootstrap_difference(made, real, n, rounds=_ROUNDS, seed=seed)
        return Score(aim, model, kind, one, other, gap)


def _accuracy(truth: Labels, said: Labels) -> Statistic:
    right = (truth == said).astype(float)
    return lambda picks: np.asarray(right[picks].mean(axis=1))


def _macro_f1(truth: Labels, said: Labels) -> Statistic:
    """Mean over the values that a sample of rows has, in truth or in what was said."""
    values = np.unique(np.concatenate([truth, said]))

    def of(picks: Picks) -> NDArray[np.float64]:
        true, guessed = truth[picks], said[picks]
        f1 = np.full((len(values), len(picks)), np.nan)
        for place, value in enumerate(values):
            hits = ((true == value) & (guessed == value)).sum(axis=1)
            both = (true == value).sum(axis=1) + (guessed == value).sum(axis=1)
            f1[place] = np.where(both > 0, 2 * hits / np.maximum(1, both), np.nan)
        seen = ~np.isnan(f1)
        return np.asarray(np.where(seen, f1, 0.0).sum(axis=0) / np.maximum(1, seen.sum(axis=0)))

    return of


def _auc(truth: Labels, odds: Matrix) -> Statistic:
    """Mean over values of the AUC of that value against all others; NaN where a sample has one value alone."""
    from scipy.stats import rankdata

    values = [value for value in np.unique(truth) if value >= 0]

    def of(picks: Picks) -> NDArray[np.float64]:
        each = np.full((len(values), len(picks)), np.nan)
        for place, value in enumerate(values):
            yes = (truth == value)[picks]
            count = yes.sum(axis=1)
            ranks = rankdata(odds[:, value][picks], axis=1)
            pairs = count * (yes.shape[1] - count)
            wins = (ranks * yes).sum(axis=1) - count * (count + 1) / 2
            each[place] = np.where(pairs > 0, wins / np.maximum(1, pairs), np.nan)
        seen = ~np.isnan(each)
        total = np.where(seen, each, 0.0).sum(axis=0)
        return np.where(seen.any(axis=0), total / np.maximum(1, seen.sum(axis=0)), np.nan)

    return of


def _r2(truth: Matrix, said: Matrix) -> Statistic:
    def of(picks: Picks) -> NDArray[np.float64]:
        true = truth[picks]
        spread = ((true - true.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        missed = ((true - said[picks]) ** 2).sum(axis=1)
        return np.where(spread > 0, 1 - missed / np.where(spread > 0, spread, 1.0), np.nan)

    return of


def _mae(truth: Matrix, said: Matrix) -> Statistic:
    missed = np.abs(truth - said)
    return lambda picks: np.asarray(missed[picks].mean(axis=1))
