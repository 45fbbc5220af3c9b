"""Answers that stand in a text, and when two are the same."""

import pytest

from understudy.errors import RecipeError
from understudy.evals.spans import Span, named, same, spans

TEXT = """# How The Kettle Works In 3 Steps
1. The kettle holds 1.7 litres and boils in four minutes, which one may like. In 2019 the firm of Ada Holm sold 12,000 of them.
- Model K-20 of the Holm company has a filter; `holm_x` is its code."""


def test_numbers_stand_in_the_text_as_they_are_and_those_of_a_list_are_none() -> None:
    found = spans(TEXT, "number", {})
    assert [one.text for one in found] == ["1.7", "four", "2019", "12,000", "20"]
    assert found[2].sentence == "In 2019 the firm of Ada Holm sold 12,000 of them."


def test_names_are_runs_of_capitals_within_a_sentence() -> None:
    assert [one.text for one in spans(TEXT, "name", {})] == ["Ada Holm", "K-20", "Holm"]


def test_a_pattern_finds_what_it_says_each_once() -> None:
    doses = {"dose": r"\d+ mg"}
    text = "Take 20 mg. Children take 5 mg, or 20 mg later."
    assert spans(text, "dose", doses) == [
        Span("20 mg", "Take 20 mg."),
        Span("5 mg", "Children take 5 mg, or 20 mg later."),
    ]
    assert spans("None is needed.", "dose", doses) == []


def test_a_pattern_that_does_not_end_is_told() -> None:
    with pytest.raises(RecipeError, match=r"answers\.patterns\.bad(.|\n)*repeats"):
        spans("a" * 5000 + "b", "bad", {"bad": "(a|a|aa)+$"})


@pytest.mark.parametrize(
    ("said", "answer", "kind", "alike"),
    [
        ("1,200", "1200", "number", True),
        ("25 mg a day", "25", "number", True),
        ("twenty-five", "25", "number", True),
        ("25 or 30", "25", "number", False),
        ("many", "25", "number", False),
        ("The Holm company.", "holm company", "name", True),
        ("Holm", "Holm company", "name", False),
        ("  20  mg. ", "20 mg", "dose", True),
        ("unknown", "20 mg", "dose", False),
    ],
)
def test_answers_are_the_same_by_what_they_say(said: str, answer: str, kind: str, alike: bool) -> None:
    assert same(said, answer, kind) is alike


def test_a_question_that_names_its_answer_is_found_out() -> None:
    assert named("Why does it boil in 4 minutes?", "four", "number")
    assert named("Is ada  holm the owner?", "Ada Holm", "name")
    assert not named("Who sold 12,000 of them?", "Ada Holm", "name")
    assert not named("Who owns the Holmes firm?", "Holm", "name")
