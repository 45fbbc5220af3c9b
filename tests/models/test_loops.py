from hypothesis import given
from hypothesis import strategies as st

from understudy.models.loops import COPIES, LONGEST, SHORTEST, looped


@given(st.lists(st.integers(0, 9), max_size=40), st.lists(st.integers(0, 9), min_size=1, max_size=LONGEST))
def test_whatever_goes_round_long_enough_is_seen(before: list[int], pattern: list[int]):
    copies = COPIES * -(-SHORTEST // len(pattern)) if len(pattern) < SHORTEST else COPIES
    assert looped(before + pattern * copies)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=300))
def test_what_never_repeats_is_no_loop(tokens: list[int]):
    assert not looped(tokens)


def test_a_refrain_or_two_is_no_loop():
    verse = list(range(20))
    assert not looped(verse + [99] * 10 + verse + [98] * 10)
    assert not looped(verse * 2)
    assert not looped(["ha"] * 40)


def test_only_the_end_counts():
    assert not looped([*[*range(16)] * 3, 99])
