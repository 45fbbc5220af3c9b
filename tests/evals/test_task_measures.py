"""Figures of answers against references: those worked out by hand, and scikit-learn's where it has them."""

import json
import math
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from understudy.evals.interval import bootstrap, bootstrap_difference, paired_bootstrap
from understudy.evals.task_measures import (
    Measured,
    classes,
    exact,
    f1,
    fields,
    json_object,
    normal,
    pass_at_k,
    perplexity,
    ranking,
    token_f1,
)


def value(measured: Measured, name: str) -> float:
    everything = np.arange(len(measured.rows))[None]
    return float(measured.statistics[name](everything)[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  Heron\n Lock. ", "heron lock"),
        ("1,234.50", "$1234.5"),
        ("+7", "7.0"),
        ("\ufb01ne", "Fine"),
        ('"yes"', "YES"),
    ],
)
def test_what_does_not_matter_is_not_compared(one: str, other: str) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(("one", "other"), [("7", "-7"), ("1.5", "15"), ("100", "1"), ("a b", "ab"), ("", "0")])
def test_what_matters_is(one: str, other: str) -> None:
    assert normal(one) != normal(other)


def test_an_answer_that_was_not_found_is_wrong_and_counted() -> None:
    measured = exact(["Yes.", "no", None, "yes"], ["yes", "yes", "no", "yes"])
    assert value(measured, "exact") == 0.5
    assert measured.details == {"not_found": 1}


def test_token_f1_is_squads() -> None:
    assert f1("the red lock", "a lock") == pytest.approx(2 / 3)
    assert f1("The", "an") == 1.0
    assert value(token_f1(["the red lock", None], ["a lock", "weir"]), "f1") == pytest.approx(1 / 3)


def test_fields_by_hand() -> None:
    references = [
        {"name": "Heron Lock", "level": 1.20, "open": True},
        {"name": "Alder", "level": None, "tags": ["a", "b"]},
    ]
    said = [
        # name and level found; open is wrong: made up and missed; colour is in no reference
        'Here: {"name": " heron  LOCK", "level": "1.2", "open": false, "colour": "red"}',
        "no object at all",
    ]
    measured = fields(said, [json.dumps(one) for one in references])
    # found 2, made up 2 (open, colour), missed 1 (open) + 3 (name, tags twice)
    assert [*measured.rows] == [
        {"found": 2, "made_up": 2, "missed": 1},
        {"found": 0, "made_up": 0, "missed": 3},
    ]
    assert value(measured, "precision") == 0.5
    assert value(measured, "recall") == pytest.approx(2 / 6)
    assert value(measured, "f1") == pytest.approx(2 * 2 / (2 * 2 + 2 + 4))
    assert measured.details == {
        "f1_by_field": {"level": 1.0, "name": pytest.approx(2 / 3), "open": 0.0, "tags": 0.0},
        "unknown_fields": 1,
        "unparsable": 1,
    }


def test_an_item_is_found_as_often_as_it_is_there() -> None:
    measured = fields(['{"a": {"b": ["x", "x", "y"]}}'], ['{"a": {"b": ["x", "z"]}}'])
    assert measured.rows == ({"found": 1, "made_up": 2, "missed": 1},)
    assert list(measured.details["f1_by_field"]) == ["a.b"]


def test_a_reference_without_an_object_is_an_error() -> None:
    with pytest.raises(ValueError, match="row 2: the reference is not a JSON object"):
        fields(["{}", "{}"], ["{}", "no"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('The {answer} is\n```\n{"a": 1}\n```', {"a": 1}),
        ('It is {"a": 1}, I think.', {"a": 1}),
        ("[1]", None),
        ('{"a": ', None),
        ("", None),
        ("[" * 100_000, None),
    ],
)
def test_the_object_in_an_answer(text: str, found: object) -> None:
    assert json_object(text) == found


def test_classes_by_hand() -> None:
    measured = classes(["a", "A.", "b", "c", None], ["a", "b", "b", "b", "a"])
    assert value(measured, "accuracy") == 0.4
    # a: found 1, made up 1, missed 1: 1/2. b: found 1, made up 0, missed 2: 1/2.
    assert value(measured, "macro_f1") == 0.5
    assert measured.details["confusion"] == {
        "a": {"(none of these)": 1, "a": 1},
        "b": {"(none of these)": 1, "a": 1, "b": 1},
    }
    assert measured.details["not_a_class"] == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_classes_are_as_scikit_learn_counts_them(pairs: list[tuple[str, str]]) -> None:
    said, references = [one for one, _ in pairs], [other for _, other in pairs]
    measured = classes(said, references)
    labels = sorted(set(references))
    assert value(measured, "accuracy") == pytest.approx(metrics.accuracy_score(references, said))
    expected = metrics.f1_score(references, said, labels=labels, average="macro", zero_division=0)
    assert value(measured, "macro_f1") == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=1, max_size=40, unique_by=lambda pair: pair[0])
)
def test_average_precision_is_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    scores, relevant = [float(score) for score, _ in pairs], [mark for _, mark in pairs]
    if not any(relevant):
        return
    if not all(relevant):
        found = value(ranking(scores, relevant, 1), "auc")
        assert found == pytest.approx(metrics.roc_auc_score(relevant, scores))
    expected = metrics.average_precision_score(relevant, scores)
    assert value(ranking(scores, relevant, 1), "average_precision") == pytest.approx(expected)


def test_ranking_by_hand_and_ties_help_nobody() -> None:
    measured = ranking([0.9, 0.8, 0.7, 0.6], [True, False, True, False], 3)
    assert value(measured, "average_precision") == pytest.approx((1 + 2 / 3) / 2)
    assert value(measured, "precision@3") == pytest.approx(2 / 3)
    for order in ([True, False, False], [False, False, True]):
        assert value(ranking([0.5] * 3, order, 1), "average_precision") == pytest.approx(1 / 3)
        assert value(ranking([0.5] * 3, order, 1), "precision@1") == 0.0
    with pytest.raises(ValueError, match="one of them relevant"):
        ranking([0.5, 0.1], [False, False], 1)


def test_a_row_that_is_drawn_twice_stands_twice_in_the_ranking() -> None:
    measured = ranking([0.9, 0.8, 0.7], [False, True, True], 1)
    picks = np.array([[1, 1, 0], [2, 2, 2], [0, 0, 0]])
    # 0 1 1: (1/2 + 2/3) / 2; 1 1 1: 1; 0 0 0: nothing relevant, so no value
    expected = [(1 / 2 + 2 / 3) / 2, 1.0, math.nan]
    assert measured.statistics["average_precision"](picks) == pytest.approx(expected, nan_ok=True)


@given(st.integers(1, 7), st.data())
def test_pass_at_k_is_the_share_of_draws_of_k_that_hold_a_right_one(n: int, data: st.DataObject) -> None:
    right = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    k = data.draw(st.integers(1, n))
    draws = list(combinations(right, k))
    expected = sum(any(draw) for draw in draws) / len(draws)
    assert value(pass_at_k([right], k), f"pass@{k}") == pytest.approx(expected)


def test_pass_at_k_needs_k_answers() -> None:
    with pytest.raises(ValueError, match="3 answers of each row are needed, got 2"):
        pass_at_k([[True] * 3, [True, False]], 3)


def test_perplexity_is_over_tokens_not_over_rows() -> None:
    measured = perplexity([[math.log(0.5)], [math.log(0.25)] * 3])
    assert value(measured, "perplexity") == pytest.approx((0.5 * 0.25**3) ** (-1 / 4))
    assert measured.lower_is_better


def test_an_interval_covers_what_it_says() -> None:
    """Of 200 samples of 60 rows, the 95 % interval of macro-F1 holds the value of the whole in 180 or more."""
    random = Random(4)
    population = [(random.choice("aab"), random.choice("ab")) for _ in range(4000)]
    population = [(one if random.random() < 0.6 else other, other) for one, other in population]
    whole = value(classes(*map(list, zip(*population, strict=True))), "macro_f1")
    covered = 0
    for _ in range(200):
        sample = random.sample(population, 60)
        found = classes(*map(list, zip(*sample, strict=True))).values(rounds=400)["macro_f1"]
        covered += found.low <= whole <= found.high
    assert 180 <= covered <= 199


def test_a_difference_is_drawn_for_both_at_once() -> None:
    random = Random(1)
    references = [random.choice(["yes", "no"]) for _ in range(80)]
    good = exact([one if random.random() < 0.9 else "?" for one in references], references)
    poor = exact([one if random.random() < 0.5 else "?" for one in references], references)
    gap = good.minus(poor)["exact"]
    old = paired_bootstrap([float(row["right"]) for row in good.rows], [float(row["right"]) for row in poor.rows])
    assert (
        gap.mean == pytest.approx(old.mean)
        and gap.low == pytest.approx(old.low)
        and gap.high == pytest.approx(old.high)
    )
    assert 0 < gap.low < gap.mean < gap.high
    same = good.minus(good)["exact"]
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)
    assert good.values(seed=1) == good.values(seed=1)


def test_intervals_do_not_depend_on_how_many_samples_are_looked_at_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = fields(['{"a": 1}', '{"a": 2}', "", '{"a": 1}'] * 5, ['{"a": 1}'] * 20)
    whole = measured.values()
    monkeypatch.setattr("understudy.evals.interval._AT_ONCE", 50)
    assert measured.values() == whole


def test_what_cannot_be_sampled_is_told() -> None:
    with pytest.raises(ValueError, match="got none"):
        bootstrap(lambda picks: picks[:, 0] * 1.0, 0)
    with pytest.raises(ValueError, match="rows are needed"):
        exact([], [])
    with pytest.raises(ValueError, match="the same rows"):
        exact(["a"], ["a"]).minus(exact(["a", "b"], ["a", "b"]))
    never = bootstrap_difference(lambda p: np.full(len(p), np.nan), lambda p: np.zeros(len(p)), 3)
    assert math.isnan(never.mean) and math.isnan(never.low)
