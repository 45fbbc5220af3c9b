"""Which texts give their label away."""

import pytest

from understudy.evals.label_leak import leak


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("positive", "A POSITIVE surprise."),
        ("positive", "I am positively surprised."),
        ("positive", "Its positives are many."),
        ("refund", "I was refunded at once."),
        ("refund", "Refunding took a week."),
        ("spam", "They spammed me, the spammers."),
        ("happy", "Happily it arrived; happiness!"),
        ("urgent", "This is most urgently needed."),
        ("complaint", "My complaint's number is 7."),
        ("bug-report", "Here is a bug report for you."),
        ("bug_report", "Two Bug  Reports."),
        ("not spam", "This is not\nspam."),
        ("straße", "Die STRASSE ist leer."),
        ("5", "I give it 5 of them."),
        ("yes", "Is it so? Yes."),
        ("no", "Answer: no"),
        ("other", 'It is "other".'),
    ],
)
def test_a_text_with_its_label_or_a_form_of_it_is_refused_and_told_which(label: str, text: str) -> None:
    said = leak(text, label)
    assert not said.passed and said.by == "rule/label-leak" and str(said.evidence).startswith("says '")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("positive", "It is a negative of a photograph, composited."),
        ("not spam", "The spam is not here."),
        ("spam", "Spanish ham."),
        ("sad", "The saddle is soft."),
        ("art", "The cart starts."),
        ("5", "It has 15 or 5000 of them."),
        ("yes", "He said yes to the other offer, and yesterday no to both."),
        ("no", "There is no lid, no knob."),
        ("other", "The other handle broke."),
        ("bug-report", "A report on a bug."),
    ],
)
def test_what_only_looks_like_the_label_is_let_through(label: str, text: str) -> None:
    assert leak(text, label).passed


def test_further_words_give_a_label_away_as_well() -> None:
    assert leak("Five stars for this one.", "good", ("five stars",)).evidence == "says 'five stars'"
    assert leak("Five of them fell.", "good", ("five stars",)).passed
