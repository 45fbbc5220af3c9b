import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.evals import Interval, paired_bootstrap
from understudy.evals.heldout import f1
from understudy.evals.interval import difference, wilson


def test_a_constant_difference_has_no_width():
    assert paired_bootstrap([3.0, 4.0, 5.0], [1.0, 2.0, 3.0]) == Interval(2.0, 2.0, 2.0, 3)


def test_the_mean_is_of_the_differences_item_by_item():
    found = paired_bootstrap([1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0])
    assert (found.mean, found.n) == (0.5, 4)
    assert 0.0 <= found.low < 0.5 < found.high <= 1.0


def test_an_interval_is_the_same_for_the_same_seed():
    one, other = [0.1, 0.9, 0.4, 0.7, 0.2], [0.3, 0.2, 0.5, 0.1, 0.6]
    assert paired_bootstrap(one, other) == paired_bootstrap(one, other)
    assert paired_bootstrap(one, other, seed=1) != paired_bootstrap(one, other)


def test_turning_the_comparison_round_turns_the_interval_round():
    one, other = [0.1, 0.9, 0.4, 0.7, 0.2], [0.3, 0.2, 0.5, 0.1, 0.6]
    there, back = paired_bootstrap(one, other), paired_bootstrap(other, one)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))


def test_more_items_make_a_narrower_interval():
    one, other = [0.0, 1.0] * 5, [0.5, 0.5] * 5
    few, many = paired_bootstrap(one, other), paired_bootstrap(one * 20, other * 20)
    assert many.high - many.low < (few.high - few.low) / 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=20))
def test_the_bounds_lie_within_the_differences(pairs: list[tuple[float, float]]):
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = paired_bootstrap(one, other, rounds=100)
    gaps = [a - b for a, b in pairs]
    assert min(gaps) - 1e-9 <= found.low <= found.high <= max(gaps) + 1e-9


@pytest.mark.parametrize(("one", "other"), [([], []), ([1.0], [1.0, 2.0])], ids=["empty", "unequal"])
def test_lists_that_are_not_pairs_are_refused(one: list[float], other: list[float]):
    with pytest.raises(ValueError, match="paired lists"):
        paired_bootstrap(one, other)


@pytest.mark.parametrize(
    ("said", "reference", "score"),
    [
        ("A lock lifts boats", "The lock lifts boats.", 1.0),
        ("lock", "lock gate", 2 / 3),
        ("lock lock", "lock", 2 / 3),
        ("dam", "lock", 0.0),
        ("", "lock", 0.0),
        ("", "the", 1.0),
    ],
    ids=["articles and marks", "half", "twice", "nothing", "silence", "both empty"],
)
def test_token_f1_can_be_counted_by_hand(said: str, reference: str, score: float):
    assert f1(said, reference) == pytest.approx(score)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_that_of_newcombes_table(count: int, n: int, low: float, high: float):
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    assert wilson(count, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_the_interval_of_a_difference_is_that_of_newcombes_table(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
):
    # Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
    assert difference(*one, *other) == pytest.approx((low, high), abs=5e-5)


def test_an_interval_mirrors_the_one_of_the_opposite_and_widens_with_confidence():
    low, high = wilson(3, 10)
    assert wilson(7, 10) == pytest.approx((1 - high, 1 - low))
    assert wilson(3, 10, 0.99)[0] < low and wilson(3, 10, 0.99)[1] > high


def test_without_an_observation_anything_may_be():
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = difference(5, 10, 0, 0)
    assert low < -0.5 and high > 0.5
    assert wilson(0, 5)[0] == 0.0 and wilson(5, 5)[1] == 1.0
