"""What is learned from synthetic rows: figures by scikit-learn, and what cannot be measured says so."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score, roc_auc_score

from understudy.columns import Column
from understudy.evals.table_figures import table_figures
from understudy.evals.useful import Useful, _auc, _macro_f1, _r2, useful
from understudy.privacy import Privacy, Trend

ALL = np.arange(60)[None]


def score(report: Useful, model: str, measure: str) -> Any:
    return next(one for one in report.scores if (one.model, one.measure) == (model, measure))


def test_a_copula_teaches_what_the_sample_does_and_independent_columns_do_not(patients: Any) -> None:
    sample, holdout = patients.real(200, 1), patients.real(600, 2)
    good = useful(patients.copula(sample, 500, 3), sample, holdout, patients.schema)
    broken = useful(patients.independent(sample, 500, 3), sample, holdout, patients.schema)
    for model in ("logistic regression", "random forest"):
        # Measured: 0.71 to 0.74 by the copula, 0.74 and 0.70 by the sample, 0.52 to 0.66 by independent columns.
        assert score(good, model, "AUC").difference.mean > -0.06
        assert score(broken, model, "AUC").difference.high < 0
    assert good.trained == {"synthetic": 500, "real": 200, "test": 600} and good.open == ()


def test_the_same_rows_teach_the_same_and_the_difference_is_none(patients: Any) -> None:
    sample, holdout = patients.real(100, 1), patients.real(100, 2)
    for one in useful(sample, sample, holdout, patients.schema).scores:
        assert (one.difference.mean, one.difference.low, one.difference.high) == (0, 0, 0)


def test_numbers_are_learned_by_regression(patients: Any) -> None:
    schema = {**patients.schema, "pulse": Column(type="number", decimals=1, role="target")}
    schema["ill"] = schema["ill"].model_copy(update={"role": "input"})
    report = useful(patients.real(300, 1), patients.real(150, 2), patients.real(200, 3), schema)
    assert {(one.model, one.measure) for one in report.scores} == {
        (model, measure) for model in ("ridge regression", "random forest") for measure in ("R2", "MAE")
    }
    assert 0.1 < score(report, "ridge regression", "R2").real.mean < 0.5
    assert 10 < score(report, "ridge regression", "MAE").synthetic.mean < 22


def test_measures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth, odds = random.integers(0, 3, 60), random.dirichlet([1, 1, 1], 60)
    said = odds.argmax(axis=1)
    assert _macro_f1(truth, said)(ALL)[0] == pytest.approx(f1_score(truth, said, average="macro"))
    assert _auc(truth, odds)(ALL)[0] == pytest.approx(roc_auc_score(truth, odds, multi_class="ovr"))
    values, guesses = random.normal(size=60), random.normal(size=60)
    assert _r2(values, guesses)(ALL)[0] == pytest.approx(r2_score(values, guesses))


def test_a_sample_of_one_value_leaves_the_auc_open() -> None:
    assert np.isnan(_auc(np.zeros(60, np.int64), np.ones((60, 2)))(ALL)[0])
    assert np.isnan(_r2(np.ones(60), np.ones(60))(ALL)[0])


def test_what_cannot_be_learned_says_why(patients: Any) -> None:
    rows = patients.real(60, 1)
    assert "no held-out" in useful(rows, rows, [], patients.schema).open[0]
    inputs = {name: column.model_copy(update={"role": "input"}) for name, column in patients.schema.items()}
    assert "role: target" in useful(rows, rows, rows, inputs).open[0]
    one_value = [{**row, "ill": "none"} for row in rows]
    report = useful(one_value, rows, rows, patients.schema)
    assert report.scores == () and report.open == (
        "ill: not measured, as the synthetic rows have fewer than two of its values.",
    )
    words = {"note": Column(type="text"), "said": Column(type="category", categories=("a", "b"), role="target")}
    assert "no input" in useful([], [], [{"note": "x", "said": "a"}], words).open[0]


def test_a_value_that_training_lacks_counts_as_missed(patients: Any) -> None:
    sample, holdout = patients.real(100, 1), patients.real(100, 2)
    two = [row for row in sample if row["ill"] != "severe"]
    report = useful(two, sample, holdout, patients.schema)
    common = sum(row["ill"] != "severe" for row in holdout) / len(holdout)
    assert score(report, "logistic regression", "accuracy").synthetic.mean <= common


def test_all_figures_are_plain_and_say_none_where_there_is_no_number(patients: Any) -> None:
    sample = patients.real(60, 1)
    holdout = [{**row, "ill": "none"} for row in patients.real(30, 2)]
    told = table_figures(patients.copula(sample, 60, 3), sample, holdout, patients.schema, Privacy(), Trend(rounds=50))
    assert {one["real"]["mean"] for one in told["useful"]["scores"] if one["measure"] == "AUC"} == {None}
    assert told["rows"] == {"synthetic": 60, "sample": 60, "holdout": 30, "unfit": 0, "alike": None} and isinstance(
        told["detection"], list
    )


def test_rows_that_weigh_little_teach_little(patients: Any) -> None:
    sample, holdout = patients.real(200, 1), patients.real(400, 2)
    good, broken = patients.real(200, 3), patients.independent(sample, 400, 4)
    alone = useful(good, sample, holdout, patients.schema)
    mixed = useful([*good, *broken], sample, holdout, patients.schema, weights=[1.0] * 200 + [1e-9] * 400)
    plain = useful([*good, *broken], sample, holdout, patients.schema)

    def off(report: Useful) -> float:
        aim = score(alone, "logistic regression", "AUC").synthetic.mean
        return abs(float(score(report, "logistic regression", "AUC").synthetic.mean - aim))

    assert off(mixed) < 0.02 < off(plain)
