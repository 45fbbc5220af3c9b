import random
import re
import tracemalloc
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from understudy.evals import measures
from understudy.evals.diversity import SAMPLE, distinct, vendi
from understudy.models import Hashing
from understudy.models.embedder import Matrix


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


def as_before(conversations: list[list[dict[str, str]]]) -> dict[str, float]:
    """The figures of all examples, worked out with everything in memory."""
    asked, said = [m[0]["content"] for m in conversations], [m[-1]["content"] for m in conversations]
    answers = [re.findall(r"\w+", text.casefold()) for text in said]
    raw = "\n".join([*asked, *said]).encode()
    grams = {
        n: [gram for words in answers for gram in zip(*(words[i:] for i in range(n)), strict=False)] for n in (1, 2, 3)
    }
    return {
        **{f"distinct-{n}": len(set(grams[n])) / len(grams[n]) for n in grams},
        "compression": len(raw) / len(zlib.compress(raw, 9)),
        "answer-words": float(np.mean([len(words) for words in answers])),
    }


def chats(number: int) -> list[list[dict[str, str]]]:
    rng = random.Random(0)
    words = [f"word{n}" for n in range(3000)]
    return [
        chat(" ".join(rng.choices(words, k=8)), " ".join(rng.choices(words, k=rng.randrange(1, 40))))
        for _ in range(number)
    ]


@pytest.mark.parametrize("number", [1, 300, SAMPLE])
def test_a_corpus_of_up_to_the_sample_is_measured_whole(number: int):
    assert measures(chats(number)) == as_before(chats(number))


def test_the_figures_of_a_large_corpus_do_not_depend_on_the_order_of_its_examples():
    corpus = chats(SAMPLE + 500)
    found = measures(corpus)
    assert measures(corpus[::-1]) == found
    random.Random(1).shuffle(corpus)
    assert measures(corpus) == found
    assert found["answer-words"] == as_before(corpus)["answer-words"]
    assert found["compression"] == pytest.approx(as_before(corpus)["compression"], rel=0.02)


def test_the_sample_is_drawn_from_the_whole_corpus_evenly():
    corpus = [chat(f"Question {n}?", "early" if n < 3 * SAMPLE else "late") for n in range(6 * SAMPLE)]
    seen: list[str] = []

    class Listening(Hashing):
        def embed(self, texts: list[str]) -> Matrix:
            seen.extend(texts)
            return super().embed(texts)

    measures(corpus, Listening())
    early = sum(int(text.split()[1][:-1]) < 3 * SAMPLE for text in seen)
    assert len(seen) == SAMPLE
    assert early == pytest.approx(SAMPLE / 2, rel=0.1)


def test_memory_does_not_grow_beyond_the_sample():
    def stream(number: int) -> Iterator[list[dict[str, str]]]:
        for n in range(number):
            yield chat(f"What of {n * 7919}? " * 10, f"The {n * 104729} of {n * 1299709}. " * 10)

    peaks = []
    for number in (SAMPLE, 4 * SAMPLE):
        tracemalloc.start()
        measures(stream(number))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_half_an_emoji_is_measured_too():
    assert measures([chat("half \ud83d emoji", "half \ud83d")])["answer-words"] == 1.0


def test_a_corpus_without_examples_has_no_measures():
    assert measures([]) == {}
