"""Tables that are drawn from a declared Gaussian copula, and generators that are good or broken in one known way."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from understudy.columns import Column, Record, Schema

ILL = ("none", "mild", "severe")
SITES = ("north", "south")
# Latent correlations: age, pressure and cholesterol rise together, the pulse falls, illness follows all of them.
LATENT = np.array(
    [
        [1.0, 0.6, 0.4, -0.5, 0.5, 0.0],
        [0.6, 1.0, 0.4, -0.3, 0.5, 0.1],
        [0.4, 0.4, 1.0, -0.2, 0.4, 0.0],
        [-0.5, -0.3, -0.2, 1.0, -0.4, 0.0],
        [0.5, 0.5, 0.4, -0.4, 1.0, 0.2],
        [0.0, 0.1, 0.0, 0.0, 0.2, 1.0],
    ]
)
_CUTS = {"ill": norm.ppf([0.5, 0.85]), "site": norm.ppf([0.6])}
_NAMES = {"ill": ILL, "site": SITES}


@dataclass(frozen=True)
class Patients:
    """A world of patients: real ones, and those that generators make up from a sample."""

    schema: Schema

    def real(self, n: int, seed: int) -> list[Record]:
        return [self._row(z) for z in np.random.default_rng(seed).multivariate_normal(np.zeros(6), LATENT, n)]

    def _row(self, z: np.ndarray) -> Record:
        return {
            "age": round(float(55 + 12 * z[0])),
            "pressure": round(float(130 + 17 * z[1]), 1),
            "cholesterol": round(float(np.exp(5.4 + 0.2 * z[2])), 1),
            "pulse": round(float(150 + 22 * z[3]), 1),
            "ill": ILL[int(np.searchsorted(_CUTS["ill"], z[4]))],
            "site": SITES[int(np.searchsorted(_CUTS["site"], z[5]))],
        }

    def copula(self, sample: list[Record], n: int, seed: int) -> list[Record]:
        """A Gaussian copula that is fitted to the sample: normal scores, and the sample's own marginals, smoothed."""
        random = np.random.default_rng(seed)
        columns = {name: self._numbers(sample, name) for name in self.schema}
        scores = []
        for values in columns.values():
            ranks = np.argsort(np.argsort(values + random.uniform(0, 1e-6, len(values))))
            scores.append(norm.ppf((ranks + 0.5) / len(values)))
        drawn = norm.cdf(random.multivariate_normal(np.zeros(6), np.corrcoef(scores), n))
        made = {}
        for place, (name, values) in enumerate(columns.items()):
            width = 0.0 if name in _NAMES else 0.3 * values.std()
            how = "inverted_cdf" if name in _NAMES else "linear"
            made[name] = np.quantile(values, drawn[:, place], method=how) + width * random.normal(size=n)
        return [self._told({name: made[name][row] for name in made}) for row in range(n)]

    def independent(self, sample: list[Record], n: int, seed: int) -> list[Record]:
        """Each column by itself, as the sample has it, with jitter: the right marginals and no relations."""
        random = np.random.default_rng(seed)
        made = {}
        for name in self.schema:
            values = random.permutation(np.resize(self._numbers(sample, name), n))
            made[name] = values if name in _NAMES else values + 0.2 * values.std() * random.normal(size=n)
        return [self._told({name: made[name][row] for name in made}) for row in range(n)]

    def copycat(self, sample: list[Record], n: int, seed: int, jitter: float = 0.02) -> list[Record]:
        """Rows of the sample with every number moved by a part of its standard deviation."""
        random = np.random.default_rng(seed)
        spread = {name: self._numbers(sample, name).std() for name in self.schema if name not in _NAMES}
        return [
            {
                name: _typed(name, cell + jitter * spread[name] * random.normal()) if name in spread else cell
                for name, cell in sample[int(random.integers(len(sample)))].items()
            }
            for _ in range(n)
        ]

    def _numbers(self, rows: list[Record], name: str) -> np.ndarray:
        return np.array([_NAMES[name].index(row[name]) if name in _NAMES else row[name] for row in rows], float)

    def _told(self, cells: dict[str, Any]) -> Record:
        return {
            name: _NAMES[name][round(float(cell))] if name in _NAMES else _typed(name, cell)
            for name, cell in cells.items()
        }


def _typed(name: str, value: float) -> int | float:
    return round(float(value)) if name == "age" else round(float(value), 1)


@pytest.fixture(scope="session")
def patients() -> Patients:
    return Patients(
        {
            "age": Column(type="integer", identifying=True),
            "pressure": Column(type="number", decimals=1),
            "cholesterol": Column(type="number", decimals=1),
            "pulse": Column(type="number", decimals=1),
            "ill": Column(type="category", categories=ILL, role="target"),
            "site": Column(type="category", categories=SITES, identifying=True),
        }
    )
