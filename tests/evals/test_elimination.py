"""What eliminates an evolved instruction, at its boundaries."""

import pytest

from understudy.evals import added, eliminated

PARENT = "Why does bread dough rise in a warm kitchen?"
EVOLVED = "Why does bread dough rise in a warm kitchen, and what changes when the yeast is old or the flour is cold?"
ANSWER = "Yeast makes gas, and gas lifts the dough."
TEMPLATE = "Make this task harder: put in one more condition that an answer must meet. Write the whole new task."


def rule(evolved: str = EVOLVED, answer: str = ANSWER) -> str | None:
    verdict = eliminated(PARENT, evolved, answer, TEMPLATE)
    return verdict.by if verdict else None


def test_a_good_evolution_stays():
    assert rule() is None


@pytest.mark.parametrize(("words", "by"), [(79, "evolve/hard-to-answer"), (80, None), (81, None), (300, None)])
def test_sorry_in_fewer_than_eighty_words_eliminates(words: int, by: str | None):
    answer = " ".join(["Sorry,", *(f"reason{n}" for n in range(words - 1))])
    assert len(answer.split()) == words
    assert rule(answer=answer) == by


def test_a_word_that_only_holds_sorry_does_not():
    assert rule(answer="The sorrysong bird lives near the warm kitchen.") is None


@pytest.mark.parametrize("answer", ["", "...", "And so it is, of the other!", "—", "It is so."])
def test_an_answer_of_stop_words_and_punctuation_eliminates(answer: str):
    assert rule(answer=answer) == "evolve/empty"


@pytest.mark.parametrize("evolved", [PARENT, PARENT.upper(), PARENT.replace("?", " ?!")])
def test_the_same_words_are_no_gain(evolved: str):
    assert rule(evolved) == "evolve/no-gain"


def test_four_words_in_a_row_of_the_prompt_are_a_leak_and_three_are_not():
    assert rule(f"{PARENT} Meet one more condition that an answer must.") == "evolve/leak"
    assert rule(f"{PARENT} Name one more condition for it in your own kitchen.") is None


def test_what_the_parent_says_itself_is_no_leak():
    parent = "Write the whole new task list for bakers who rise early."
    evolved = f"{parent} Say which of them the apprentice may leave out on a holiday."
    assert eliminated(parent, evolved, ANSWER, TEMPLATE) is None


def test_added_words_are_counted():
    assert added(PARENT, EVOLVED) == 13
    assert added(EVOLVED, PARENT) == -13
