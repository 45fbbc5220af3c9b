"""Whether a synthetic table has the columns and the relations of the real one, held against what chance does.

Measured are, for each column, Kolmogorov and Smirnov's distance (numbers) or the total variation (categories, a
missing cell being one), and the difference of the shares of missing cells; for each pair the difference of Pearson's
correlation, of Cramér's V, or of the correlation ratio where one is a number and the other a category, and the total
variation of the two-way table, numbers in five classes of the sample. Real tables of these sizes differ in all this
too: pairs of real samples are drawn (bootstrap), and a table passes while it is within the distance that 95 % of them
stay within, times a margin.

SDMetrics has the same measures (KSComplement, TVComplement, CorrelationSimilarity, ContingencySimilarity); a test holds
these against them. It is not used here because it needs `copulas`, which is under the Business Source License 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.columns import Record, Schema
from understudy.evals.table_space import Matrix, TableSpace
from understudy.privacy import Trend

_CLASSES = 5
_MOST = 5000
"""Most rows in a sample that is drawn: what chance does to more is too little to matter."""
_BARS = 12
_OVER = (
    "columns, mean", "columns, worst", "relations of pairs, mean", "relations of pairs, worst",
    "two-way tables of pairs, mean",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Distance:
    """How far the synthetic table is in one respect, and how far real samples are from one another."""

    name: str
    value: float
    usual: float
    """The median of pairs of real samples."""
    often: float
    """What 95 % of them stay within."""
    limit: float | None
    """None where it is told and held to nothing."""

    @property
    def passed(self) -> bool | None:
        """Whether it is within its limit; None without one."""
        return None if self.limit is None else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Fidelity:
    """All measures of one table."""

    trend: tuple[Distance, ...]
    """Over all columns and pairs: what the verdict goes by."""
    columns: tuple[Distance, ...]
    """Of each column."""
    pairs: tuple[Distance, ...]
    """Of each pair (`one × other`): the difference of their relation, told only."""
    missing: dict[str, tuple[float, float]]
    """Shares of missing cells by column, real and synthetic."""
    relations: dict[str, Any]
    """`names`, and the relations of all pairs as two matrices, `real` and `synthetic`, and `kinds`."""
    histograms: tuple[dict[str, Any], ...]
    """Of each column: `name`, `bins` (labels), and the shares of `real` and `synthetic` rows in them."""

    @property
    def passed(self) -> bool | None:
        """Whether all of the trend is within its limits; None where there was nothing to measure."""
        return all(one.passed for one in self.trend) if self.trend else None

    def figures(self) -> dict[str, Any]:
        """As JSON has it."""
        trend = [asdict(one) | {"passed": one.passed} for one in self.trend]
        return {"passed": self.passed} | asdict(self) | {"trend": trend}


@dataclass(frozen=True, slots=True)
class _Coded:
    """A table as numbers: values (NaN for missing) and one-hot classes of all columns side by side."""

    values: Matrix
    classes: Matrix

    def take(self, rows: NDArray[np.int64]) -> _Coded:
        return _Coded(self.values[rows], self.classes[rows])


@dataclass(frozen=True, slots=True)
class _Frame:
    """How tables are coded, alike for all of them."""

    names: tuple[str, ...]
    numeric: NDArray[np.bool_]
    slices: tuple[slice, ...]
    """Of each column, its classes among all classes; the last one is for missing cells."""
    edges: tuple[Matrix, ...]
    space: TableSpace

    @classmethod
    def of(cls, sample: Sequence[Record], schema: Schema) -> _Frame:
        space = TableSpace.of(sample, schema)
        values = space.values(sample)
        slices, edges, start = [], [], 0
        for place, name in enumerate(space.columns):
            known = values[~np.isnan(values[:, place]), place]
            inner = np.arange(1, _CLASSES) / _CLASSES
            cuts = np.unique(np.quantile(known, inner)) if len(known) else np.zeros(0)
            edges.append(np.zeros(0) if name in space.codes else cuts)
            # Of categories there is one more, for what the schema does not know.
            width = (len(space.codes[name]) + 1 if name in space.codes else len(cuts) + 1) + 1
            slices.append(slice(start, start + width))
            start += width
        return cls(tuple(space.columns), ~space.categories, tuple(slices), tuple(edges), space)

    def coded(self, records: Sequence[Record]) -> _Coded:
        values = self.space.values(records)
        classes = np.zeros((len(records), self.slices[-1].stop if self.slices else 0))
        rows = np.arange(len(records))
        for place, where in enumerate(self.slices):
            cells = values[:, place]
            width = where.stop - where.start
            code = np.searchsorted(self.edges[place], cells, "left") if self.numeric[place] else cells + 1
            code = np.where(np.isnan(cells), width - 1, code).astype(int)
            classes[rows, where.start + code] = 1.0
        return _Coded(values, classes)


@dataclass(frozen=True, slots=True)
class _Told:
    """What of a table is compared: two-way tables of all classes, and relations of all columns."""

    joint: Matrix
    """Shares, shape (classes, classes); the diagonal has the shares of single classes."""
    relations: Matrix
    sorted: tuple[Matrix, ...]
    """The known values of each number, in order; empty for a category."""


def fidelity(synthetic: Sequence[Record], sample: Sequence[Record], holdout: Sequence[Record], schema: Schema,
             limits: Trend, seed: int = 0) -> Fidelity:  # fmt: skip
    """Compare a synthetic table with the sample that it was made from.

    Args:
        synthetic: what was written.
        sample: what it was made from.
        holdout: further real rows, from which pairs of real samples are drawn besides; may be empty.
        schema: of all of them.
        limits: the recipe's.
        seed: of the drawing.
    """
    frame = _Frame.of(sample, schema)
    if not frame.names or not synthetic or len(sample) < 2:
        return Fidelity((), (), (), {}, {"names": [], "real": [], "synthetic": [], "kinds": []}, ())
    real, made = frame.coded(sample), frame.coded(synthetic)
    one, other = _tell(real, frame), _tell(made, frame)
    found = _distances(one, other, frame)
    pool = frame.coded([*sample, *holdout])
    random, drawn = np.random.default_rng(seed), []
    n, sizes = len(pool.values), [min(_MOST, len(rows)) for rows in (sample, synthetic)]
    for _ in range(limits.rounds):
        first, second = (_tell(pool.take(random.integers(0, n, size)), frame) for size in sizes)
        drawn.append(_distances(first, second, frame))
    usual, often = np.quantile(np.array(drawn), [0.5, 0.95], axis=0)
    names = _names(frame)
    judged = len(_OVER)
    told = [
        Distance(
            name, float(value), float(middle), float(high), limits.margin * float(high) if place < judged else None
        )
        for place, (name, value, middle, high) in enumerate(zip(names, found, usual, often, strict=True))
    ]
    columns = judged + len(frame.names)
    trend = tuple(one for one in told[:judged] if len(frame.names) > 1 or "pair" not in one.name)
    return Fidelity(
        trend, tuple(told[judged:columns]), tuple(told[columns:]), _missing(real, made, frame),
        _relations(one, other, frame), _histograms(real, made, frame),
    )  # fmt: skip


def _names(frame: _Frame) -> list[str]:
    """What `_distances` measures, in its order."""
    pairs = [f"{one} × {other}" for one, other in combinations(frame.names, 2)]
    return [*_OVER, *frame.names, *pairs]


def _distances(one: _Told, other: _Told, frame: _Frame) -> Matrix:
    """How far two tables are apart: over all, of each column, of each pair."""
    columns = np.array(
        [
            _steps(one.sorted[place], other.sorted[place]) if frame.numeric[place] else
            np.abs(np.diag(one.joint)[where] - np.diag(other.joint)[where]).sum() / 2
            for place, where in enumerate(frame.slices)
        ]
    )  # fmt: skip
    starts = [where.start for where in frame.slices]
    gaps = np.add.reduceat(np.abs(one.joint - other.joint), starts, axis=0)
    crossed = np.add.reduceat(gaps, starts, axis=1) / 2
    upper = np.triu_indices(len(frame.names), 1)
    pairs, tables = np.abs(one.relations - other.relations)[upper], crossed[upper]
    over = [columns.mean(), columns.max(), *([pairs.mean(), pairs.max(), tables.mean()] if len(pairs) else [0, 0, 0])]
    return np.concatenate([over, columns, pairs])


def _steps(one: Matrix, other: Matrix) -> float:
    """The largest gap of two empirical distribution functions, of values in order; 1 where only one has values."""
    if not len(one) or not len(other):
        return float(len(one) != len(other))
    both = np.concatenate([one, other])
    shares = [np.searchsorted(values, both, "right") / len(values) for values in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def _tell(table: _Coded, frame: _Frame) -> _Told:
    joint = table.classes.T @ table.classes / len(table.classes)
    known = tuple(
        np.sort(column[~np.isnan(column)]) if numeric else np.zeros(0)
        for column, numeric in zip(table.values.T, frame.numeric, strict=True)
    )
    return _Told(joint, _related(table, frame, joint), known)


def _related(table: _Coded, frame: _Frame, joint: Matrix) -> Matrix:
    """Pearson's correlation, Cramér's V or the correlation ratio of every pair, of the rows that have both cells."""
    count = len(frame.names)
    out = np.eye(count)
    numbers = np.flatnonzero(frame.numeric)
    if len(numbers):
        out[np.ix_(numbers, numbers)] = _correlations(table.values[:, numbers])
    for one, other in combinations(range(count), 2):
        if not frame.numeric[one] and not frame.numeric[other]:
            # Without the classes of missing cells.
            cells = joint[frame.slices[one], frame.slices[other]][:-1, :-1]
            out[one, other] = out[other, one] = _cramer(cells)
        elif frame.numeric[one] != frame.numeric[other]:
            number, category = (one, other) if frame.numeric[one] else (other, one)
            where = frame.slices[category]
            ratio = _ratio(table.values[:, number], table.classes[:, where.start : where.stop - 1])
            out[one, other] = out[other, one] = ratio
    return out


def _correlations(values: Matrix) -> Matrix:
    """Pairwise Pearson correlations of the rows that have both cells; 0 where one does not vary."""
    known = (~np.isnan(values)).astype(float)
    filled = np.where(known > 0, values, 0.0)
    # Shifted by the mean, so that squares keep their digits.
    filled -= known * (filled.sum(axis=0) / np.maximum(1, known.sum(axis=0)))
    n = np.maximum(1.0, known.T @ known)
    sums, squares = filled.T @ known, (filled**2).T @ known
    spread = squares - sums**2 / n
    product = filled.T @ filled - sums * sums.T / n
    scale = np.sqrt(np.maximum(0, spread * spread.T))
    out = np.where(scale > 1e-12, product / np.where(scale > 1e-12, scale, 1), 0.0)
    np.fill_diagonal(out, 1.0)
    return np.clip(out, -1, 1)


def _cramer(cells: Matrix) -> float:
    """Cramér's V of a two-way table; 0 where one side has a single class."""
    cells = cells[cells.sum(axis=1) > 0][:, cells.sum(axis=0) > 0]
    smaller = min(cells.shape) - 1
    if smaller < 1:
        return 0.0
    shares = cells / cells.sum()
    expected = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    return float(np.sqrt(max(0.0, ((shares - expected) ** 2 / expected).sum()) / smaller))


def _ratio(number: Matrix, classes: Matrix) -> float:
    """The correlation ratio: the square root of the share of a number's variance that lies between classes."""
    known = ~np.isnan(number) & (classes.sum(axis=1) > 0)
    if known.sum() < 2:
        return 0.0
    values, members = number[known] - number[known].mean(), classes[known]
    whole = float((values**2).sum())
    sizes = members.sum(axis=0)
    between = float(((members.T @ values) ** 2 / np.maximum(1, sizes)).sum())
    return float(np.sqrt(min(1.0, between / whole))) if whole > 1e-12 else 0.0


def _missing(real: _Coded, made: _Coded, frame: _Frame) -> dict[str, tuple[float, float]]:
    shares = (np.isnan(table.values).mean(axis=0) for table in (real, made))
    return {
        name: (float(one), float(other)) for name, one, other in zip(frame.names, *shares, strict=True) if one or other
    }


def _relations(real: _Told, made: _Told, frame: _Frame) -> dict[str, Any]:
    names = list(frame.names)
    kinds = [["correlation", "correlation ratio", "Cramér's V"][2 - int(one) - int(other)]
             for one, other in combinations(frame.numeric, 2)]  # fmt: skip
    return {
        "names": names, "kinds": kinds,
        "real": np.round(real.relations, 4).tolist(), "synthetic": np.round(made.relations, 4).tolist(),
    }  # fmt: skip


def _histograms(real: _Coded, made: _Coded, frame: _Frame) -> tuple[dict[str, Any], ...]:
    out = []
    for place, name in enumerate(frame.names):
        column = frame.space.columns[name]
        if not column.numeric:
            where = frame.slices[place]
            labels = ["(other)", *column.categories, "(missing)"]
            shares = [table.classes[:, where].mean(axis=0) for table in (real, made)]
            seen = [label for label, *rest in zip(labels, *shares, strict=True) if any(rest)]
            picked = [number for number, label in enumerate(labels) if label in seen]
            out.append({"name": name, "bins": seen} | _shares(shares, picked))
            continue
        low, spread = frame.space.low[place], frame.space.spread[place]
        cells = [table.values[:, place] * spread + low for table in (real, made)]
        known = [values[~np.isnan(values)] for values in cells]
        both = np.concatenate(known)
        if not len(both):
            continue
        edges = np.linspace(both.min(), both.max() if both.max() > both.min() else both.min() + 1, _BARS + 1)
        shares = [np.histogram(values, edges)[0] / max(1, len(values)) for values in known]
        labels = [f"{edge:.{_places(float(edges[-1] - edges[0]))}f}" for edge in edges]
        bins = [f"{labels[number]}–{labels[number + 1]}" for number in range(_BARS)]
        out.append({"name": name, "bins": bins} | _shares(shares, list(range(_BARS))))
    return tuple(out)


def _shares(shares: Sequence[Matrix], picked: Sequence[int]) -> dict[str, list[float]]:
    real, made = ([round(float(one[place]), 5) for place in picked] for one in shares)
    return {"real": real, "synthetic": made}


def _places(spread: float) -> int:
    """Decimals that tell the edges of a histogram apart."""
    return int(max(0, 2 - np.floor(np.log10(spread)))) if spread < 100 else 0
