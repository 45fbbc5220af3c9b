"""Neighbours differ wherever they can, and the order is the seed's."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from understudy.corpus.order import arranged

KEYS = [(document, leaf) for document in "abcde" for leaf in "xyz" for _ in range(4)]


def alike(keys: list[object], order: list[int]) -> int:
    return sum(keys[one] == keys[after] for one, after in pairwise(order))


def test_two_seeds_give_two_orders_of_the_same_rows_and_neither_has_neighbours_alike():
    one, other = arranged(KEYS, 1), arranged(KEYS, 2)
    assert one != other and sorted(one) == sorted(other) == list(range(len(KEYS)))
    assert alike(KEYS, one) == alike(KEYS, other) == 0
    assert arranged(KEYS, 1) == one


@given(st.lists(st.sampled_from("aaab"), max_size=40) | st.lists(st.integers(0, 6), max_size=60), st.integers(0, 9))
def test_as_few_neighbours_as_possible_are_alike(keys: list[object], seed: int):
    order = arranged(keys, seed)
    assert sorted(order) == list(range(len(keys)))
    most = max(Counter(keys).values(), default=0)
    assert alike(keys, order) == max(0, most - 1 - (len(keys) - most))
