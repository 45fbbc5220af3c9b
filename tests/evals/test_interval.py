import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.evals import Interval, paired_bootstrap
from understudy.evals.heldout import f1


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
