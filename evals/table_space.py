"""Where the rows of a table lie: Gower's distance, and who is nearest to whom.

Gower (Biometrics 27, 1971): the mean over columns of |difference| / range for numbers, and of 0 or 1 for categories. A
missing cell is a value of its own, as far from every other value as two different categories. Each row becomes a point
whose Manhattan distances are just that, so that scikit-learn's trees and blocks find neighbours in bounded memory.
Free text has no place in it; `ignored` columns are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.columns import Cell, Column, Record, Schema, used

Matrix = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TableSpace:
    """The columns that have a place in it, with their ranges and categories."""

    columns: dict[str, Column]
    low: Matrix
    """Least value of each column, shape (columns,); 0 where it is a category."""
    spread: Matrix
    """Range of each column, shape (columns,); 1 where it is a category, or a number that never varies."""
    codes: dict[str, dict[Cell, int]]
    """Of each category column, its values by number."""

    @classmethod
    def of(cls, sample: Sequence[Record], schema: Schema) -> TableSpace:
        """Ranges are those of the schema where it has both ends, else those of the sample."""
        columns = {name: column for name, column in used(schema).items() if column.type != "text"}
        low, spread = np.zeros(len(columns)), np.ones(len(columns))
        codes: dict[str, dict[Cell, int]] = {}
        for place, (name, column) in enumerate(columns.items()):
            if not column.numeric:
                codes[name] = {value: number for number, value in enumerate(column.categories)}
                continue
            known = [float(value) for record in sample if isinstance(value := record.get(name), int | float)]
            least = column.low if column.low is not None and column.high is not None else min(known, default=0.0)
            most = column.high if column.low is not None and column.high is not None else max(known, default=1.0)
            low[place], spread[place] = least, (most - least) or 1.0
        return cls(columns, low, spread, codes)

    def values(self, records: Sequence[Record]) -> Matrix:
        """Numbers as parts of their range, categories as their number, NaN where a cell is empty; (rows, columns).

        A category that the schema does not know is -1.
        """
        out = np.full((len(records), len(self.columns)), np.nan)
        for place, name in enumerate(self.columns):
            codes = self.codes.get(name)
            for row, record in enumerate(records):
                cell = record.get(name)
                if cell is None:
                    continue
                if codes is not None:
                    out[row, place] = codes.get(cell, -1)
                elif isinstance(cell, int | float):
                    out[row, place] = cell
        return (out - self.low) / self.spread

    @property
    def categories(self) -> NDArray[np.bool_]:
        """Which columns are categories, shape (columns,)."""
        return np.array([name in self.codes for name in self.columns], bool)

    def points(self, records: Sequence[Record]) -> Matrix:
        """Rows as points whose Manhattan distances are Gower's, shape (rows, dimensions).

        A number x of 0..1 is (x, 1 - x, 0) / 2, and a missing one (0, 0, 1) / 2; categories are one-hot.
        """
        values = self.values(records)
        parts: list[Matrix] = []
        for place, name in enumerate(self.columns):
            cells = values[:, place]
            missing = np.isnan(cells)
            if name in self.codes:
                known = np.arange(-1, len(self.codes[name]))
                parts.append((cells[:, None] == known).astype(float) / 2)
            else:
                filled = np.where(missing, 0.0, cells)
                parts.append(np.stack([filled, np.where(missing, 0.0, 1 - filled)], axis=1) / 2)
            parts.append(missing[:, None] / 2)
        if not parts:
            return np.zeros((len(records), 0))
        return np.concatenate(parts, axis=1) / len(self.columns)

    def gaps(self, one: Matrix, others: Matrix) -> Matrix:
        """Column by column, how far one row of `values` is from others, in 0..1; shape (others, columns)."""
        gaps = np.abs(others - one)
        gaps = np.where(self.categories & (gaps > 0), 1.0, gaps)
        missing = np.isnan(gaps)
        if missing.any():
            gaps[missing] = 1.0
            gaps[np.isnan(others) & np.isnan(one)] = 0.0
        return gaps


@dataclass(frozen=True, slots=True)
class Near:
    """For each row, how far its nearest neighbours are, nearest first, and which rows they are; shape (rows, k)."""

    distance: Matrix
    row: Codes


def nearest(points: Matrix, among: Matrix, k: int = 1, *, itself: bool = False) -> Near:
    """The k nearest among others by Manhattan distance, memory bounded; a neighbour less where there are too few.

    Args:
        points: shape (rows, dimensions).
        among: shape (others, dimensions).
        k: how many.
        itself: `points` are `among`, and no row is its own neighbour (leave-one-out).
    """
    from sklearn.neighbors import NearestNeighbors

    k = min(k, len(among) - itself)
    if not len(points) or k < 1:
        return Near(np.zeros((len(points), 0)), np.zeros((len(points), 0), np.int64))
    found = NearestNeighbors(n_neighbors=k, metric="manhattan").fit(among)
    distance, row = found.kneighbors(None if itself else points)
    # The last digits of a sum in another order: copies are at 0, not at 1e-17.
    return Near(np.where(distance < 1e-12, 0.0, distance), row)
