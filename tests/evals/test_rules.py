from dataclasses import replace

import pytest

from understudy.evals import INSTRUCTION_RULES, RULES, Pair, faithful_passage, quality, verdicts
from understudy.evals.rules import no_refusal
from understudy.nouns import Verdict
from understudy.recipe import Verify

GOOD = Pair(
    instruction="Why does a canal lock need no pump?",
    answer="Water flows down into the lock from the upper canal, so no pump is needed.",
    material="A canal lock is filled by water that flows down from the upper canal. No pump is needed.",
    attached=False,
    task="Ask one question. Begin with Why.",
)
LIMITS = Verify(min_words=3, max_words=20, min_grounding=0.5, min_evidence=0.6)


def verdict(name: str, pair: Pair, limits: Verify = LIMITS) -> Verdict:
    return next(said for said in verdicts(pair, limits) if said.by == f"rule/{name}")


def test_a_good_pair_passes_every_rule_with_full_marks():
    said = verdicts(GOOD, LIMITS)
    assert len(said) == len(RULES)
    assert all(one.passed and one.score == 1.0 for one in said), said
    assert said[-1].evidence in GOOD.material
    assert quality(GOOD, LIMITS) == 1.0


@pytest.mark.parametrize(
    ("words", "passed"), [(2, False), (3, True), (20, True), (21, False)], ids=["below", "least", "most", "above"]
)
def test_length_counts_words_and_includes_its_limits(words: int, passed: bool):
    said = verdict("length", replace(GOOD, answer="water " * words))
    assert (said.passed, said.score, said.evidence) == (passed, float(passed), f"{words} words")


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Water flows.", 1.0),
        ("Water in Paris.", 0.5),
        ("Engines in Paris.", 0.0),
        ("It is what it was.", 1.0),
        ("Pumps flowed.", 1.0),
    ],
    ids=["all", "half", "none", "no content words", "other endings"],
)
def test_grounding_is_the_share_of_content_words_that_are_known(answer: str, score: float):
    said = verdict("grounding", replace(GOOD, answer=answer))
    assert (said.score, said.passed) == (score, score >= 0.5)


def test_grounding_names_the_words_that_are_not_in_the_seed():
    assert verdict("grounding", replace(GOOD, answer="Engines in Paris.")).evidence == "not in the seed: engin, pari"


def test_the_instruction_grounds_an_answer_too():
    assert verdict("grounding", replace(GOOD, instruction="What of Paris?", answer="Paris it is.")).score == 1.0


def test_without_a_grounding_limit_the_rules_about_grounding_say_nothing():
    said = {one.by for one in verdicts(GOOD, Verify(min_grounding=None))}
    assert said == {"rule/length", "rule/echo", "rule/in-role", "rule/self-contained", "rule/repetition"}
    assert faithful_passage("anything", "else", Verify(min_grounding=None)) is None


@pytest.mark.parametrize(
    ("answer", "score"),
    [("a b c d e f", 1.0), ("a b c", 1.0), ("a b c d a b c d", 4 / 5), ("go " * 10, 1 / 7), ("Go, go. " * 5, 1 / 7)],
    ids=["none", "too short", "one of five", "all", "case and marks"],
)
def test_repetition_is_the_share_of_different_4_grams(answer: str, score: float):
    said = verdict("repetition", replace(GOOD, answer=answer))
    assert said.score == round(score, 4)
    assert said.passed == (score >= 2 / 3)


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        ("Why does a canal lock need no pump?", False),
        ("A canal lock does need no pump", False),
        ("No pump", True),
        ("A canal lock does need no pump, because water flows.", True),
    ],
    ids=["copy", "same words", "too few words to say", "something new"],
)
def test_an_answer_that_only_repeats_the_instruction_is_an_echo(answer: str, passed: bool):
    assert verdict("echo", replace(GOOD, answer=answer)).passed is passed


@pytest.mark.parametrize(
    ("instruction", "score"),
    [
        ("Why does a canal lock need no pump?", 1.0),
        ("Why do canals and engines?", 0.5),
        ("Ask one question, why?", 0.0),
    ],
    ids=["on topic", "half", "the task handed on"],
)
def test_on_topic_is_the_share_of_the_instruction_s_own_words_that_are_in_the_material(instruction: str, score: float):
    said = verdict("on-topic", replace(GOOD, instruction=instruction))
    assert (said.score, said.passed) == (score, score >= 0.5)


def test_an_instruction_without_words_of_its_own_repeats_the_task():
    assert verdict("on-topic", replace(GOOD, instruction="Why?")).evidence == "repeats the agent's task"


@pytest.mark.parametrize(
    "instruction", ["What does the text say?", "Explain the passage above.", "Which value is mentioned above?"]
)
def test_an_instruction_that_points_at_its_seed_must_carry_it(instruction: str):
    alone = verdict("self-contained", replace(GOOD, instruction=instruction))
    assert not alone.passed and str(alone.evidence).startswith("says '")
    assert verdict("self-contained", replace(GOOD, instruction=instruction, attached=True)).passed


@pytest.mark.parametrize(
    "instruction", ["What text did Gutenberg print?", "Which stories are told of the lake?", "What is a textile?"]
)
def test_an_instruction_that_only_talks_about_texts_stands_alone(instruction: str):
    assert verdict("self-contained", replace(GOOD, instruction=instruction)).passed


@pytest.mark.parametrize(
    "text",
    [
        "As an AI, I know no locks.",
        "As an AI language model, I know no locks.",
        "I'm sorry, it is not known.",
        "I cannot help with locks.",
        "I can't answer that.",
        "I am an AI.",
        "Water flows <|im_end|>",
    ],
)
@pytest.mark.parametrize("place", ["answer", "instruction"])
def test_nobody_speaks_as_a_model_refuses_or_leaks_a_token(place: str, text: str):
    assert not verdict("in-role", replace(GOOD, **{place: text})).passed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        "She works as an airline pilot.",
        "I am an airport keeper.",
        "The dam serves as an aid to boats.",
        "Stevia is sold as an artificial sweetener.",
        "The model of the lock is of wood.",
    ],
)
def test_words_that_only_start_like_a_model_s_are_in_role(answer: str):
    assert verdict("in-role", replace(GOOD, answer=answer)).passed


def test_the_rules_of_an_instruction_do_not_read_the_answer():
    said = verdicts(GOOD, LIMITS, INSTRUCTION_RULES)
    assert verdicts(replace(GOOD, answer="", material=GOOD.material), LIMITS, INSTRUCTION_RULES) == said
    assert set(INSTRUCTION_RULES) < set(RULES)


def test_quality_is_the_mean_of_the_scores():
    bad = replace(GOOD, answer="No water.")  # too short; everything else is right
    assert quality(bad, LIMITS) == pytest.approx(7 / 8)


@pytest.mark.parametrize(
    ("passage", "score"),
    [("Water flows in a canal.", 1.0), ("Water in Paris.", 0.5), ("", 0.0)],
    ids=["all", "half", "empty"],
)
def test_a_passage_speaks_of_what_its_seed_speaks_of(passage: str, score: float):
    said = faithful_passage(passage, GOOD.material, LIMITS)
    assert said == replace(said, by="rule/passage", score=score, passed=score >= 0.5)  # type: ignore[type-var]


def test_the_evidence_is_the_part_that_holds_most_of_the_answer():
    material = "Boats wait below. " + "Nothing else happens on the canal all day long, as the keeper says. " * 4
    material += "A lock lifts boats with water from the upper canal."
    pair = replace(GOOD, answer="The lock lifts boats with water.", material=material)
    said = verdict("evidence", pair)
    assert said.passed and said.score == 1.0
    assert said.evidence == "lock lifts boats with water"


@pytest.mark.parametrize(("answer", "passed"), [("Boats wait below, nothing happens.", True),
                                                ("Boats burn rocket fuel below the quay.", False)])  # fmt: skip
def test_an_answer_with_little_in_one_place_has_no_evidence(answer: str, passed: bool):
    material = "Boats wait below. Nothing happens. " + "The keeper sleeps in his small house by the gate. " * 9
    assert verdict("evidence", replace(GOOD, answer=answer, material=material)).passed == passed


def test_people_in_a_text_may_be_sorry_and_who_writes_it_may_not_refuse():
    def passes(text: str) -> bool:
        (said,) = verdicts(Pair("task", text, "", True), Verify(), (no_refusal,))
        return said.passed and said.by == "rule/in-role"

    assert passes("I am sorry that I bought it, it broke.") and passes("I'm unable to open the lid, I can't use it.")
    assert not passes("I'm sorry, but I can't write a review.") and not passes("As an AI language model, I own no pan.")
    assert not passes("I cannot assist with that.") and not passes("A good pan.<|im_end|>")
