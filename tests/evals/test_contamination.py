import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.corpus.benchmarks import Item
from understudy.evals.contamination import Contamination

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
SHORT = "a lock lifts boats up and down again"  # eight words


def looked(benchmark: list[str], *messages: str) -> Contamination:
    found = Contamination(Item(f"b.jsonl:{n}", (text,)) for n, text in enumerate(benchmark, start=1))
    found.add("row", [("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(messages)])
    return found


def test_a_run_of_thirteen_words_is_found_whatever_its_case_and_punctuation():
    said = "Well: ONE, two three (four) five six seven, eight nine ten eleven twelve THIRTEEN! So."
    found = looked(["nothing of it", LONG], "Hello there", said)
    (one,) = found.found
    assert (one.id, one.words, one.role, one.benchmark) == ("row", 13, "assistant", "b.jsonl:2")
    assert one.share == 13 / 17  # of both messages' words
    assert one.quote == "ONE, two three (four) five six seven, eight nine ten eleven twelve THIRTEEN"


def test_runs_that_follow_one_another_are_one():
    found = looked([LONG], f"so {LONG} so")
    assert found.found[0].words == 15 and found.found[0].share == 15 / 17


def test_twelve_words_of_a_longer_text_are_not_enough():
    twelve = " ".join(LONG.split()[:12])
    assert not looked([LONG], f"{twelve} thirty").found


def test_a_text_of_eight_to_twelve_words_is_found_whole_only():
    assert looked([SHORT], f"We know that {SHORT} forever").found[0].words == 8
    assert not looked([SHORT], f"We know that {SHORT.removesuffix(' again')} forever").found


def test_shorter_texts_are_counted_and_not_looked_for():
    found = looked(["a lock lifts boats up and down", SHORT, LONG], "a lock lifts boats up and down")
    told = found.figures()
    assert not found.found
    assert (told["items"], told["texts"], told["texts_matched_whole"], told["texts_too_short"]) == (3, 2, 1, 1)


def test_a_run_does_not_reach_over_the_end_of_a_message_or_a_text():
    words = LONG.split()
    assert not looked([LONG], " ".join(words[:8]), " ".join(words[8:])).found
    assert not looked([" ".join(words[:7]), " ".join(words[7:])], LONG.replace("seven eight", "seven, eight")).found[1:]


def test_the_first_item_that_has_a_run_is_named():
    assert looked([LONG, LONG], LONG).found[0].benchmark == "b.jsonl:1"


def test_rows_are_told_from_the_most_contaminated_on():
    found = Contamination([Item("b:1", (LONG, SHORT))])
    for id, text in (("b", f"{LONG} and more"), ("a", LONG), ("c", "clean"), ("d", LONG)):
        found.add(id, [("user", text)])
    told = found.figures()
    assert [row["id"] for row in told["rows"]] == ["a", "d", "b"]
    assert (told["n"], told["contaminated"], told["share"], told["gram"]) == (4, 3, 0.75, 13)


def test_letters_that_fold_into_several_words_are_quoted_too():
    text = f"İ {LONG}"
    assert looked([text], f"x {text}").found[0].quote.endswith("fifteen")


def test_nothing_is_found_in_nothing():
    assert Contamination([]).figures()["share"] is None
    assert not looked([], LONG).found
    assert not looked([LONG], "", "…").found


def plainly(benchmark: list[str], text: str) -> int:
    """How many words of a text lie in matched n-grams, by looking everywhere."""
    said = re.findall(r"\w+", text)
    marked = set()
    for one in benchmark:
        known = re.findall(r"\w+", one)
        n = min(13, len(known))
        if n < 8:
            continue
        grams = {tuple(known[i : i + n]) for i in range(len(known) - n + 1)}
        for i in range(len(said) - n + 1):
            if tuple(said[i : i + n]) in grams:
                marked.update(range(i, i + n))
    return len(marked)


@pytest.mark.parametrize("seed", range(20))
def test_it_finds_what_looking_everywhere_finds(seed: int):
    rng = random.Random(seed)
    pool = [f"w{n}" for n in range(60)]
    benchmark = [" ".join(rng.choices(pool, k=rng.randrange(5, 40))) for _ in range(12)]
    pieces = []
    for _ in range(6):
        words = rng.choice(benchmark).split()
        start = rng.randrange(len(words))
        pieces += words[start : start + rng.randrange(1, 30)] + rng.choices(pool, k=rng.randrange(4))
    text = " ".join(pieces)
    found = looked(benchmark, text)
    expected = plainly(benchmark, text)
    assert round((found.found[0].share if found.found else 0) * len(pieces)) == expected


@given(st.lists(st.text(max_size=80), max_size=5), st.lists(st.text(max_size=200), max_size=4))
def test_any_text_can_be_looked_for(benchmark: list[str], messages: list[str]):
    found = looked(benchmark, *messages)
    assert all(0 < one.share <= 1 and one.words >= 8 for one in found.found)
