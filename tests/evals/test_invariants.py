"""What must survive rewording, and what breaks it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.evals.invariants import broken, invariants, label_of, names_in, numbers_in, protected_spans
from understudy.evals.rules import Pair, length
from understudy.evals.typos import typos
from understudy.recipe import Verify

CLEAN = 'Why does Heron Lock lose 1,200 litres when the keeper says "hold it" and runs `open_gate(3)`?'


@pytest.mark.parametrize(
    ("noised", "by", "evidence"),
    [
        (CLEAN.replace("1,200", "1,300"), "noise/numbers", "number 1200 lost"),
        (CLEAN.replace("Why", "In 1999, why"), "noise/numbers", "number 1999 added"),
        (CLEAN.replace("Heron Lock", "it"), "noise/names", "name Heron Lock lost"),
        (CLEAN.replace("hold it", "hold on"), "noise/quotes", "quotation hold it lost"),
        (CLEAN.replace("open_gate", "OpenGate"), "noise/code", "code `open_gate(3)` lost"),
        (CLEAN.replace("keeper", "guard"), "noise/words", "word keeper lost"),
        (f"  {CLEAN} ", "noise/unchanged", "nothing was changed"),
        (CLEAN.replace("?", ", by leaking?"), "noise/label", "answer leaking given away"),
        (f"Sure.\n{CLEAN}", "noise/length", "2 lines, expected 1"),
        (CLEAN + " I ask since I wonder" * 12, "noise/length", "76 words, expected 0 to 52"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(noised: str, by: str, evidence: str) -> None:
    verdict = broken(CLEAN, noised, invariants(CLEAN, "Leaking.", ("keeper", "not there")))
    assert verdict is not None and (verdict.by, verdict.passed, verdict.evidence.casefold()) == (
        by, False, evidence.casefold(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "noised",
    [
        CLEAN.replace("1,200", "1200"),
        CLEAN.replace("Why does Heron Lock", "hey why does heron lock"),
        CLEAN.replace("lose", "lsoe"),
        f"As a nurse from Leeds I ask: {CLEAN}",
    ],
)
def test_what_keeps_everything_passes(noised: str) -> None:
    assert broken(CLEAN, noised, invariants(CLEAN, "Because the gate leaks at its hinges.")) is None


def test_a_label_that_stands_among_the_options_must_go_on_standing_there() -> None:
    clean = "Is this review positive or negative: good tea?"
    kept = invariants(clean, "positive")
    assert broken(clean, "Tell me, is this review positive or negative: good tea?", kept) is None
    lost = broken(clean, "Tell me, is this review nice or negative: good tea?", kept)
    assert lost is not None and lost.evidence == "answer positive lost"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,200 and 1200.0 and 1200", {"1200"}),
        ("twelve or twenty-five or Forty", {"12", "25", "40"}),
        ("one of them, none, anyone", set()),
        ("3rd, 12km, 5.50, 7%", {"3", "12", "5.5", "7"}),
        ("it fell to -5 from 5, pages 3-4", {"-5", "5", "3", "4"}),
        ("version 1.2.3, 1,2", {"1.2.3", "1", "2"}),
        ("", set()),
    ],
)
def test_a_number_has_one_spelling(text: str, found: set[str]) -> None:
    assert numbers_in(text) == found


def test_names_are_capitalised_runs_that_do_not_begin_a_sentence() -> None:
    said = "Describe Alder Bridge. The keeper knows that I met McKay at NASA: In Rome it rained."
    assert names_in(said) == ["Alder Bridge", "McKay", "NASA", "Rome"]
    assert invariants("Heron lives here. What eats it?", "Heron eats fish.").names == ("Heron",)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Positive.", "Positive"),
        ("`yes`", "yes"),
        ("not at all", "not at all"),
        ("It rose by a metre.", None),
        ("", None),
    ],
)
def test_an_answer_of_a_few_words_is_a_label(answer: str, label: str | None) -> None:
    assert label_of(answer) == label


@pytest.mark.parametrize(("count", "passes"), [(9, False), (10, True)])
def test_where_ten_words_are_wanted_nine_are_too_few(count: int, passes: bool) -> None:
    text = " ".join(f"w{'x' * place}" for place in range(count))
    rule = length(Pair("Why?", text, "", True), Verify(min_words=10))
    assert rule.passed is passes and rule.evidence == f"{count} words"
    noised = broken("Why is it so?", text, invariants("Why is it so?"), min_words=10)
    assert (noised is None) is passes and (passes or noised.by == "noise/length")  # type: ignore[union-attr]


def test_typos_change_words_and_leave_what_is_protected() -> None:
    kept = invariants(CLEAN, "It leaks.")
    spans = protected_spans(CLEAN, kept.shown)
    made = {typos(CLEAN, 1.0, Random(seed), spans) for seed in range(40)}
    assert len(made) > 10 and CLEAN not in made
    for text in made:
        assert all(part in text for part in ("Heron Lock", "1,200", '"hold it"', "`open_gate(3)`"))
        changed = [one for one, other in zip(CLEAN.split(), text.split(), strict=True) if one != other]
        assert 1 <= len(changed) <= 3


def test_typos_are_the_same_for_the_same_seed_and_grow_with_strength() -> None:
    text = "several ordinary words without anything that needs protection stand here together today"
    few, many = (sum(a != b for a, b in zip(text.split(), typos(text, strength, Random(1)).split(), strict=True))
                 for strength in (0.1, 1.0))  # fmt: skip
    assert typos(text, 0.5, Random(7)) == typos(text, 0.5, Random(7))
    assert few == 1 and many == 4


def test_where_every_word_is_protected_nothing_is_typed_wrong() -> None:
    assert typos("Heron Lock 12", 1.0, Random(0), [(0, 13)]) == "Heron Lock 12"
    assert typos("a bee or an ant", 1.0, Random(0)) == "a bee or an ant"


@given(st.text(max_size=80), st.integers(0, 9))
def test_whatever_is_typed_numbers_and_quotations_stay(text: str, seed: int) -> None:
    kept = invariants(text, "", ())
    out = typos(text, 1.0, Random(seed), protected_spans(text, kept.shown))
    verdict = broken(text, out, kept)
    # A mistake may spell another number by chance, which the noiser tries again; nothing that stood there is lost.
    assert verdict is None or verdict.by == "noise/unchanged" or str(verdict.evidence).endswith("added")
