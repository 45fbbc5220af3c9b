"""True shares again: weights and draws."""

from collections import Counter

import pytest

from understudy.columns import Record
from understudy.corpus.base_rate import drawn, shares, weights

ROWS: list[Record] = [{"fraud": "yes" if n % 2 else "no", "n": n} for n in range(2000)]


def test_weights_give_the_true_shares_and_their_mean_is_one() -> None:
    found = weights(ROWS, {"fraud": {"yes": 0.02, "no": 0.98}})
    yes = sum(weight for weight, row in zip(found, ROWS, strict=True) if row["fraud"] == "yes")
    assert yes / sum(found) == pytest.approx(0.02) and sum(found) / len(found) == pytest.approx(1)


def test_what_is_drawn_has_the_true_shares() -> None:
    kept = drawn(ROWS, weights(ROWS, {"fraud": {"yes": 0.1, "no": 0.9}}), 0)
    assert shares(kept, "fraud")["yes"] == pytest.approx(0.1, abs=0.02)
    assert Counter(row["fraud"] for row in kept)["no"] == 1000  # the class that is short is taken whole
    assert kept == drawn(ROWS, weights(ROWS, {"fraud": {"yes": 0.1, "no": 0.9}}), 0)


def test_without_shares_all_rows_stay() -> None:
    assert drawn(ROWS, weights(ROWS, {}), 0) == ROWS and set(weights(ROWS, {})) == {1.0}


def test_a_value_without_a_true_share_weighs_nothing_and_no_row_is_no_error() -> None:
    assert set(weights(ROWS, {"fraud": {"no": 1.0}})) == {0.0, 2.0}
    assert weights([], {"fraud": {"no": 1.0}}) == [] and drawn([], [], 0) == []
