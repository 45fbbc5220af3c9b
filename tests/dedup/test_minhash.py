import random
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.dedup import MinHashIndex, jaccard, shingles, signature
from understudy.dedup.minhash import bands

TEXT = st.lists(st.sampled_from(["water", "gate", "lock", "boat", "canal", "stone", "bread", "lamp"]), max_size=8).map(
    " ".join
)


def index(threshold: float, *texts: str) -> MinHashIndex:
    """An index of texts under the keys 0, 1, 2, …"""
    made = MinHashIndex(threshold)
    for key, text in enumerate(texts):
        made.add([str(key)], [text], signature(text)[None])
    return made


def near(made: MinHashIndex, text: str) -> tuple[str, float] | None:
    return made.nearest(text, signature(text))


def words(*numbers: int) -> str:
    return " ".join(f"w{number}" for number in numbers)


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("a b c d", "a b c d", 1.0),
        ("a b c", "a b d", 0.5),
        ("a b", "c d", 0.0),
        ("A, b! b?", "b a", 1.0),
        ("Straße", "STRASSE", 1.0),
        ("!!", "??", 0.0),
        ("", " ", 1.0),
    ],
)
def test_jaccard_is_shared_words_over_all_words(one: str, other: str, share: float):
    assert jaccard(shingles(one), shingles(other)) == share


@settings(deadline=None)
@given(TEXT, TEXT)
def test_jaccard_is_symmetric_and_one_only_for_the_same_words(one: str, other: str):
    share = jaccard(shingles(one), shingles(other))
    assert share == jaccard(shingles(other), shingles(one))
    assert (share == 1) == (set(one.split()) == set(other.split()))


@settings(deadline=None)
@given(TEXT)
def test_a_signature_does_not_depend_on_the_order_or_number_of_words(text: str):
    turned = " ".join(reversed((text + " " + text).split()))
    assert signature(text).tolist() == signature(turned).tolist()


def test_every_pair_above_090_is_found_among_other_texts():
    # Recall is 1 - (1 - 0.9^8)^16 > 0.9998 for one pair at exactly 0.9, and higher above it.
    rng = random.Random(0)
    pool = [words(*rng.sample(range(5000), 40)) for _ in range(300)]
    made = index(0.9, *pool)
    for key, text in enumerate(pool):
        twin = " ".join([*text.split()[1:], "other"])  # 39 shared of 41 words: 0.951
        assert near(made, twin) == (str(key), 39 / 41)


@pytest.mark.parametrize(("threshold", "changed"), [(0.7, 3), (0.5, 6)], ids=["0.7", "0.5"])
def test_pairs_above_a_lower_threshold_are_found_as_well(threshold: float, changed: int):
    # 17 shared of 23 words are 0.739; 14 of 26 are 0.538.
    rng = random.Random(0)
    pool = [words(*rng.sample(range(9000), 20)) for _ in range(200)]
    twins = [" ".join([*text.split()[changed:], *"abcdef"[:changed]]) for text in pool]
    made = index(threshold, *pool)
    assert all(jaccard(shingles(one), shingles(two)) > threshold for one, two in zip(pool, twins, strict=True))
    assert sum(near(made, twin) is not None for twin in twins) >= 198


@settings(deadline=None)
@given(st.lists(TEXT, max_size=12, unique_by=shingles), TEXT, st.sampled_from([0.3, 0.5, 0.8, 0.9]))
def test_what_is_found_really_is_above_the_threshold_and_the_nearest_there_is(
    texts: list[str], text: str, threshold: float
):
    made = index(threshold, *texts)
    hit = near(made, text)
    if hit is None:
        return
    shares = [jaccard(shingles(text), shingles(other)) for other in texts]
    assert hit[1] == shares[int(hit[0])] > threshold


def test_similarity_at_the_threshold_is_not_above_it():
    nine_of_ten = words(*range(9))
    assert near(index(0.9, words(*range(10))), nine_of_ten) is None
    assert near(index(0.89, words(*range(10))), nine_of_ten) == ("0", 0.9)


def test_at_a_threshold_of_one_copies_are_still_found():
    assert near(index(1.0, "Why does it float?"), "Why does it float?") == ("0", 1.0)


def test_of_equally_similar_texts_the_earliest_is_named():
    core = [*range(20)]
    made = index(0.94, words(*core, 97), words(*core, 98), words(*core, 99))  # 20 of 22 in common: three texts
    assert near(made, words(*core)) == ("0", 20 / 21)


def test_the_most_similar_text_is_named_even_if_it_came_later():
    core = [*range(20)]
    made = index(0.8, words(*core, 97, 98), words(*core, 99))
    assert near(made, words(*core)) == ("1", 20 / 21)


def test_an_empty_index_finds_nothing():
    assert near(MinHashIndex(0.5), "anything") is None


def test_a_signature_has_128_minima_of_32_bits():
    assert signature("Why does a lock need no pump?").shape == (128,)
    assert signature("Why does a lock need no pump?").dtype == np.uint32


def test_signatures_are_what_they_were_in_the_first_release():
    # Golden: stored indexes are compared with new signatures under the same scheme.
    assert signature("golden words")[:4].tolist() == [
        55246723,
        313111316,
        1782638758,
        2626726231,
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(TEXT, max_size=20),
    st.lists(TEXT, min_size=1, max_size=5),
    st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.9, 1.0]),
    st.sampled_from([128, 512, 1 << 18]),
)
def test_the_index_on_disk_finds_what_datasketch_finds_in_memory(
    texts: list[str], asked: list[str], threshold: float, page: int
):
    lsh = MinHashLSH(num_perm=128, params=bands(threshold))
    for place, text in enumerate(texts):
        lsh.insert(place, as_datasketch(text))
    with mock.patch("understudy.dedup.minhash._PAGE", page):
        made = index(threshold, *texts)
    for text in asked:
        proposed = sorted(lsh.query(as_datasketch(text)))
        shares = {place: jaccard(shingles(text), shingles(texts[place])) for place in proposed}
        best = max(proposed, key=lambda place: (shares[place], -place), default=None)
        found = best is not None and (shares[best] > threshold or shares[best] == 1)
        assert near(made, text) == ((str(best), shares[best]) if best is not None and found else None)


def as_datasketch(text: str) -> MinHash:
    return MinHash(num_perm=128, seed=1, scheme="affine32", hashvalues=signature(text))


def test_texts_entered_at_once_are_found_as_if_one_by_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("understudy.dedup.minhash._PAGE", 16 * 7)
    rng = random.Random(0)
    texts = [words(*rng.sample(range(10**6), 20)) for _ in range(100)]
    made = MinHashIndex(0.9)
    for first, last in ((0, 1), (1, 4), (4, 90), (90, 100)):
        keys = [str(place) for place in range(first, last)]
        made.add(keys, texts[first:last], np.stack([signature(text) for text in texts[first:last]]))
    assert [near(made, text) for text in texts] == [(str(place), 1.0) for place in range(100)]


def test_memory_does_not_grow_with_the_texts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("understudy.dedup.minhash._PAGE", 16 * 64)
    made = MinHashIndex(0.9)
    rng = random.Random(0)
    texts = [words(*rng.sample(range(10**6), 20)) for _ in range(1500)]
    for key, text in enumerate(texts[:500]):
        made.add([str(key)], [text], signature(text)[None])
    tracemalloc.start()
    for key, text in enumerate(texts[500:], start=500):
        made.add([str(key)], [text], signature(text)[None])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000
    assert near(made, texts[700]) == ("700", 1.0)


def test_a_lone_surrogate_is_a_word_like_any_other():
    assert near(index(0.9, "half \ud83d emoji"), "half \ud83d emoji") == ("0", 1.0)
