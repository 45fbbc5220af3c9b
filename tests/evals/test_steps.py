"""Scores of steps against a table worked out by hand."""

import pytest

from understudy.evals.steps import first_error, product_score, worst_score


@pytest.mark.parametrize(
    ("steps", "product", "worst", "blamed"),
    [
        ([0.9, 0.5, 0.8], 0.36, 0.5, 1),
        ([1.0], 1.0, 1.0, 0),
        ([0.5, 0.5], 0.25, 0.5, 0),
        ([0.2, 0.9, 0.1], 0.018, 0.1, 2),
    ],
)
def test_the_whole_is_the_product_or_the_worst_of_its_steps(
    steps: list[float], product: float, worst: float, blamed: int
) -> None:
    assert product_score(steps) == pytest.approx(product)
    assert worst_score(steps) == worst
    assert first_error(steps) == blamed
