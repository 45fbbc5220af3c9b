import random

import pytest

from understudy.corpus.sample import Even, Fewest


def test_all_are_kept_as_they_came_while_they_fit():
    sample: Even[str] = Even(3)
    for key, item in ((9, "a"), (1, "b"), (5, "c")):
        sample.add(key, item)
    assert sample.items() == ["a", "b", "c"]


def test_of_more_the_smallest_keys_are_kept_in_whatever_order_they_come():
    keys = list(range(100))
    found = set()
    for shuffle in range(5):
        random.Random(shuffle).shuffle(keys)
        sample: Even[int] = Even(4)
        for key in keys:
            sample.add(key, key * 10)
        assert sample.seen == 100
        found.add(tuple(sample.items()))
    assert found == {(30, 20, 10, 0)}


def test_items_of_one_key_all_count():
    sample: Even[str] = Even(2)
    for item in "abc":
        sample.add(7, item)
    assert len(sample.items()) == 2 and sample.seen == 3


@pytest.mark.parametrize("shuffle", range(5))
def test_counts_of_the_keys_that_are_kept_are_exact_in_whatever_order_they_come(shuffle: int):
    shown = [key for key in range(50) for _ in range(key + 1)]
    random.Random(shuffle).shuffle(shown)
    fewest: Fewest[int] = Fewest(5)
    for key in shown:
        name = str(key)
        if name in fewest.kept or fewest.admits(name, key):
            fewest.kept[name] = fewest.kept.get(name, 0) + 1
    assert fewest.kept == {str(key): key + 1 for key in range(5)}
    assert fewest.dropped


def test_nothing_is_dropped_while_there_is_room():
    fewest: Fewest[int] = Fewest(2)
    assert fewest.admits("a", 1)
    fewest.kept["a"] = 1
    assert not fewest.dropped
