"""Gower's distance, by hand and by what a tree says."""

from itertools import product

import numpy as np
import pytest

from understudy.columns import Column, Record, Schema
from understudy.evals.table_space import TableSpace, nearest

SCHEMA: Schema = {
    "age": Column(type="integer", low=0, high=100, optional=True),
    "dose": Column(type="number", decimals=1),
    "sex": Column(type="category", categories=("f", "m"), optional=True),
    "note": Column(type="text"),
    "id": Column(type="text", role="ignored"),
}
SAMPLE: list[Record] = [
    {"age": 20, "dose": 1.0, "sex": "f", "note": "well", "id": "a"},
    {"age": 70, "dose": 3.0, "sex": "m", "note": "ill", "id": "b"},
    {"age": None, "dose": 2.0, "sex": None, "note": "", "id": "c"},
]


def gower(one: Record, other: Record) -> float:
    """As the definition has it; the range of `dose` is that of the sample."""
    gaps = []
    for name, spread in (("age", 100.0), ("dose", 2.0), ("sex", None)):
        x, y = one[name], other[name]
        if x is None or y is None:
            gaps.append(float(x is not y))
        elif spread:
            gaps.append(abs(float(x) - float(y)) / spread)
        else:
            gaps.append(float(x != y))
    return sum(gaps) / 3


def test_points_are_as_far_apart_as_gower_says_with_missing_cells_as_values() -> None:
    space = TableSpace.of(SAMPLE, SCHEMA)
    points = space.points(SAMPLE)
    for one, other in product(range(3), repeat=2):
        assert np.abs(points[one] - points[other]).sum() == pytest.approx(gower(SAMPLE[one], SAMPLE[other]))
    assert gower(SAMPLE[0], SAMPLE[1]) == pytest.approx((0.5 + 1 + 1) / 3)


def test_columns_one_by_one_add_up_to_the_same_distance() -> None:
    space = TableSpace.of(SAMPLE, SCHEMA)
    values = space.values(SAMPLE)
    for one in range(3):
        assert space.gaps(values[one], values).mean(axis=1) == pytest.approx([gower(SAMPLE[one], x) for x in SAMPLE])


def test_text_and_ignored_columns_have_no_place() -> None:
    assert list(TableSpace.of(SAMPLE, SCHEMA).columns) == ["age", "dose", "sex"]
    nothing = TableSpace.of(SAMPLE, {"note": SCHEMA["note"]})
    assert nothing.points(SAMPLE).shape == (3, 0)


def test_a_number_beyond_the_range_stays_farther_than_one_at_its_end() -> None:
    space = TableSpace.of(SAMPLE, SCHEMA)
    far, end = ({**SAMPLE[0], "dose": dose} for dose in (9.0, 3.0))
    found = nearest(space.points([far, end]), space.points(SAMPLE[:1]))
    assert found.distance[0, 0] == pytest.approx(4 / 3) and found.distance[1, 0] == pytest.approx(1 / 3)


def test_a_category_nobody_listed_is_unlike_all_others() -> None:
    space = TableSpace.of(SAMPLE, SCHEMA)
    odd = {**SAMPLE[0], "sex": "x"}
    assert nearest(space.points([odd]), space.points(SAMPLE[:1])).distance[0, 0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("columns", [3, 40], ids=["by a tree", "in blocks"])
def test_neighbours_are_those_of_all_pairs(columns: int) -> None:
    schema = {f"c{place}": Column(type="number", decimals=3) for place in range(columns)}
    random = np.random.default_rng(0)
    rows: list[Record] = [dict(zip(schema, map(float, row), strict=True)) for row in random.normal(size=(60, columns))]
    space = TableSpace.of(rows, schema)
    points = space.points(rows)
    everyone = np.abs(points[:, None] - points[None]).sum(axis=2)
    found = nearest(points, points, 2)
    assert found.distance == pytest.approx(np.sort(everyone, axis=1)[:, :2]) and (found.distance[:, 0] == 0).all()
    np.fill_diagonal(everyone, np.inf)
    alone = nearest(points, points, itself=True)
    assert alone.distance[:, 0] == pytest.approx(everyone.min(axis=1))
    assert (alone.row[:, 0] == everyone.argmin(axis=1)).all()


def test_there_are_no_more_neighbours_than_others() -> None:
    space = TableSpace.of(SAMPLE, SCHEMA)
    points = space.points(SAMPLE)
    assert nearest(points, points[:1], 2).distance.shape == (3, 1)
    assert nearest(points, points[:0]).distance.shape == (3, 0)
    assert nearest(points[:1], points[:1], itself=True).distance.shape == (1, 0)
