"""What goes together in a table: a Gaussian copula, from which the sketch of a new row is drawn.

Each column keeps its own distribution; how columns move together is one matrix of correlations between normal scores
(Sklar 1959; Nelsen, An Introduction to Copulas, 2006). Kept by class of the target where a class has rows enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from understudy.columns import Cell, Record, Schema
from understudy.corpus.table_schema import Wanted, eighth

# With fewer rows a class says little of how its columns go together: the sample's whole matrix is taken.
_LEAST_ROWS = 40
_NORMAL = NormalDist()
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Margin:
    """The values of one column, sorted as their scores are: empty cells first, then numbers or categories."""

    values: tuple[Cell, ...]

    def at(self, share: float) -> Cell:
        """The value below which this share of the values stands."""
        return self.values[min(len(self.values) - 1, int(share * len(self.values)))]

    def around(self, share: float) -> tuple[float, float] | None:
        """The least and the greatest number of the eighth of the numbers that a share falls into; None: empty."""
        if self.at(share) is None:
            return None
        known = [float(value) for value in self.values if isinstance(value, int | float)]
        return eighth(known, (share * len(self.values) - (len(self.values) - len(known))) / len(known))


@dataclass(frozen=True, slots=True)
class Copula:
    """A table's columns: each one's margin, and the factor of the correlations of their normal scores."""

    names: tuple[str, ...]
    margins: tuple[Margin, ...]
    factor: Matrix
    """Cholesky factor, shape (columns, columns)."""

    @classmethod
    def fit(
        cls, rows: Sequence[Record], names: Sequence[str], orders: Orders | None = None, factor: Matrix | None = None
    ) -> Copula:
        """Fit columns of numbers and categories.

        Args:
            rows: typed; at least 2.
            names: the columns to fit, none of free text.
            orders: places of categories, as they are in a larger table; else as they are in these rows.
            factor: correlations from elsewhere, where these rows are too few.
        """
        scores, margins, known = [], [], orders or ordered(rows, names)
        for name in names:
            cells = [row.get(name) for row in rows]
            rank = known.get(name) or {cell: float("-inf") if cell is None else float(cell) for cell in set(cells)}
            margins.append(Margin(tuple(sorted(cells, key=lambda cell: rank[cell]))))
            scores.append(_scores([rank[cell] for cell in cells]))
        return cls(tuple(names), tuple(margins), _factor(np.array(scores)) if factor is None else factor)

    def shares(self, rng: Random) -> dict[str, float]:
        """Where in each column's distribution one new row stands, in 0..1."""
        drawn = self.factor @ np.array([rng.gauss(0, 1) for _ in self.names])
        return {name: _NORMAL.cdf(float(score)) for name, score in zip(self.names, drawn, strict=True)}

    def record(self, rng: Random) -> Record:
        """One new row, with values that the column has."""
        shares = self.shares(rng)
        return {name: margin.at(shares[name]) for name, margin in zip(self.names, self.margins, strict=True)}

    def rough(self, rng: Random, names: Sequence[str], schema: Schema) -> Wanted:
        """What some columns of a new row are to be: categories as such, numbers within an eighth of the sample's."""
        shares = self.shares(rng)
        wanted: Wanted = {}
        for name, margin in zip(self.names, self.margins, strict=True):
            if name in names:
                numeric, value = schema[name].numeric, margin.at(shares[name])
                wanted[name] = margin.around(shares[name]) if numeric else None if value is None else str(value)
        return wanted


class Classes:
    """Copulas by the value of a target, fitted when they are first asked for."""

    def __init__(self, rows: Sequence[Record], schema: Schema, names: Sequence[str]) -> None:
        self._rows = rows
        self._schema = schema
        self._names = names
        self._orders = ordered(rows, names)
        self._whole = Copula.fit(rows, names, self._orders)
        self._fitted: dict[tuple[tuple[str, Cell], ...], Copula] = {}

    def of(self, given: Mapping[str, Cell]) -> Copula:
        """The copula of the rows that have these values; of all, where too few have them."""
        key = tuple(sorted(given.items()))
        if key not in self._fitted:
            rows = [row for row in self._rows if all(row.get(name) == value for name, value in given.items())]
            factor = None if len(rows) >= _LEAST_ROWS else self._whole.factor
            self._fitted[key] = Copula.fit(rows, self._names, self._orders, factor) if len(rows) > 1 else self._whole
        return self._fitted[key]


Orders = Mapping[str, Mapping[Cell, float]]
"""Of columns of categories, a place for each value."""


def ordered(rows: Sequence[Record], names: Sequence[str]) -> dict[str, dict[Cell, float]]:
    """Categories by where their rows stand along the main direction of the numbers, empty cells first.

    Made once of the whole sample: a class alone may have another direction.
    """
    main, found = _main(rows, names), {}
    for name in names:
        cells = [row.get(name) for row in rows]
        if any(isinstance(cell, str) for cell in cells):
            means = {value: float(main[[cell == value for cell in cells]].mean()) for value in set(cells) - {None}}
            in_order = sorted(means, key=lambda value: (means[value], str(value)))
            found[name] = {None: float("-inf")} | {value: float(place) for place, value in enumerate(in_order)}
    return found


def _main(rows: Sequence[Record], names: Sequence[str]) -> Matrix:
    """The first principal component of the numbers, shape (rows,): along it, categories are put in an order."""
    columns = []
    for name in names:
        cells = [row.get(name) for row in rows]
        known = [float(cell) for cell in cells if isinstance(cell, int | float)]
        if known and (spread := float(np.std(known))) and not any(isinstance(cell, str) for cell in cells):
            mean = float(np.mean(known))
            columns.append([(float(cell) - mean) / spread if isinstance(cell, int | float) else 0.0 for cell in cells])
    if not columns:
        return np.zeros(len(rows))
    found = np.array(columns).T
    direction = np.linalg.svd(found, full_matrices=False)[2][0]
    return np.asarray(found @ (direction * np.sign(direction[np.abs(direction).argmax()])))


def _scores(ranks: Sequence[float]) -> Matrix:
    """Normal scores of mid-ranks."""
    from scipy.stats import norm, rankdata

    return np.asarray(norm.ppf((rankdata(ranks) - 0.5) / len(ranks)), dtype=np.float64)


def _factor(scores: Matrix) -> Matrix:
    """Cholesky factor of the nearest usable correlation matrix; scores have the shape (columns, rows)."""
    spread = scores.std(axis=1, keepdims=True)
    scaled = (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    found = scaled @ scaled.T / scores.shape[1]
    np.fill_diagonal(found, 1.0)  # a column that never varies goes with nothing
    values, vectors = np.linalg.eigh(found)
    found = vectors @ np.diag(np.clip(values, 1e-6, None)) @ vectors.T
    scale = np.sqrt(np.diag(found))
    return np.asarray(np.linalg.cholesky(found / np.outer(scale, scale)), dtype=np.float64)
