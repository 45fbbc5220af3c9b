import numpy as np
import pytest

from understudy.evals import measures
from understudy.evals.diversity import distinct, vendi
from understudy.models import Hashing


def chat(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


@pytest.mark.parametrize(
    ("texts", "n", "share"),
    [
        ([["a", "b", "a", "b"]], 1, 2 / 4),
        ([["a", "b", "a", "b"]], 2, 2 / 3),
        ([["a", "b"], ["a", "b"]], 2, 1 / 2),
        ([["a", "b", "c"]], 3, 1.0),
        ([["a", "b"]], 3, 0.0),
        ([], 1, 0.0),
    ],
    ids=["words", "pairs", "over texts", "one triple", "too short", "nothing"],
)
def test_distinct_is_different_n_grams_over_all(texts: list[list[str]], n: int, share: float):
    assert distinct(texts, n) == share


def test_n_grams_do_not_reach_over_the_end_of_a_text():
    assert distinct([["a", "b"], ["b", "a"]], 2) == 1.0


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_vendi_score_of_identical_items_is_one(n: int):
    assert vendi(np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (n, 1))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("n", "d"), [(1, 1), (4, 4), (3, 10)])
def test_the_vendi_score_of_orthogonal_items_is_their_number(n: int, d: int):
    assert vendi(np.eye(n, d, dtype=np.float32)) == pytest.approx(n, abs=1e-5)


def test_the_vendi_score_of_two_pairs_of_twins_is_two():
    assert vendi(np.eye(2, 5, dtype=np.float32)[[0, 0, 1, 1]]) == pytest.approx(2, abs=1e-5)


def test_the_vendi_score_is_the_same_whichever_matrix_is_the_smaller():
    vectors = Hashing().embed(["a lock", "a dam", "bread"])
    wide = vendi(vectors)
    q, _ = np.linalg.qr(vectors.T.astype(np.float64))
    assert vendi((vectors @ q).astype(np.float32)) == pytest.approx(wide, abs=1e-4)
    assert 1 < wide < 3


def test_measures_of_a_small_corpus_can_be_checked_by_hand():
    found = measures([chat("What is it?", "A lock lifts boats."), chat("And this?", "A dam!")])
    assert found["distinct-1"] == 5 / 6
    assert found["distinct-2"] == 1.0
    assert found["answer-words"] == 3.0
    assert set(found) == {"distinct-1", "distinct-2", "distinct-3", "compression", "answer-words"}


def test_repetition_compresses_better():
    alike = measures([chat("What is it?", "A lock lifts boats up.")] * 20)
    varied = measures([chat(f"What of {n * 7919}?", f"The {n * 104729} of {n * 1299709}.") for n in range(20)])
    assert alike["compression"] > 2 * varied["compression"]


def test_coverage_is_one_when_no_two_instructions_are_alike_and_small_when_all_are():
    alike = measures([chat("What is it?", "This.")] * 10, Hashing())["coverage"]
    varied = measures([chat(text, "This.") for text in ("xxxxxxxx", "qqqqqqqq", "zzzzzzzz")], Hashing())["coverage"]
    assert alike == pytest.approx(0.1, abs=1e-5)
    assert varied == pytest.approx(1.0, abs=0.05)


def test_only_what_was_asked_first_and_said_last_counts():
    longer = [*chat("What?", "Never mind."), *chat("Again?", "A lock.")]
    assert measures([longer])["answer-words"] == 2.0


def test_a_corpus_without_examples_has_no_measures():
    assert measures([]) == {}
