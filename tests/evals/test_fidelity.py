"""Columns and relations: figures by hand, by scipy and by SDMetrics, and verdicts on generators known good and broken."""

import json
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp
from scipy.stats.contingency import association

from understudy.columns import Column, Record, Schema
from understudy.evals.detection import auc_error, detection
from understudy.evals.fidelity import Fidelity, fidelity
from understudy.evals.table_space import TableSpace
from understudy.privacy import Trend

QUICK = Trend(rounds=50)


def value(report: Fidelity, name: str) -> float:
    return next(one.value for one in (*report.trend, *report.columns, *report.pairs) if one.name == name)


def test_independent_columns_fail_and_copulas_and_fresh_rows_pass(patients: Any) -> None:
    """Measured over 15 tables: mean difference of relations 0.26 where columns are independent, 0.06 for a copula, limit
    0.10; none passed of the first, none failed of the others."""
    for seed in range(12):
        sample, holdout = patients.real(200, 1000 + seed), patients.real(400, 2000 + seed)
        broken = fidelity(patients.independent(sample, 500, seed), sample, holdout, patients.schema, QUICK)
        assert broken.passed is False and all(one.passed for one in broken.trend[:2])  # the marginals are right
        for made in (patients.copula(sample, 500, seed), patients.real(500, 3000 + seed)):
            assert fidelity(made, sample, holdout, patients.schema, QUICK).passed is True


def test_a_shifted_column_fails_by_that_column(patients: Any) -> None:
    sample = patients.real(200, 1)
    made = [{**row, "pulse": row["pulse"] + 20} for row in patients.copula(sample, 500, 1)]
    report = fidelity(made, sample, [], patients.schema, QUICK)
    worst = max(report.columns, key=lambda one: one.value)
    assert report.passed is False and worst.name == "pulse" and worst.value > worst.often


def test_what_real_samples_differ_by_shrinks_with_their_size(patients: Any) -> None:
    small, large = (
        fidelity(patients.real(n, 2), patients.real(n, 1), [], patients.schema, QUICK).trend[0] for n in (50, 800)
    )
    assert large.often < small.often / 2.5  # by the square root of 16, in the long run


def test_figures_are_those_of_scipy(patients: Any) -> None:
    one, other = patients.real(150, 1), patients.copula(patients.real(150, 1), 240, 2)
    report = fidelity(other, one, [], patients.schema, QUICK)

    def column(rows: list[Record], name: str) -> np.ndarray:
        return np.array([row[name] for row in rows])

    assert value(report, "pulse") == pytest.approx(
        ks_2samp(column(one, "pulse"), column(other, "pulse")).statistic, abs=1e-9
    )
    gap = abs(np.subtract(*(np.corrcoef(column(rows, "age"), column(rows, "pulse"))[0, 1] for rows in (one, other))))
    assert value(report, "age × pulse") == pytest.approx(gap, abs=1e-9)
    tables = [
        np.array(
            [
                [sum(row["ill"] == a and row["site"] == b for row in rows) for b in ("north", "south")]
                for a in ("none", "mild", "severe")
            ]
        )
        for rows in (one, other)
    ]
    cramer = abs(association(tables[0], method="cramer") - association(tables[1], method="cramer"))
    assert value(report, "ill × site") == pytest.approx(cramer, abs=1e-9)
    shares = [table.sum(axis=1) / table.sum() for table in tables]
    assert value(report, "ill") == pytest.approx(abs(shares[0] - shares[1]).sum() / 2, abs=1e-9)

    def ratio(rows: list[Record]) -> float:
        ages, ill = column(rows, "age").astype(float), column(rows, "ill")
        between = sum((ill == kind).sum() * (ages[ill == kind].mean() - ages.mean()) ** 2 for kind in set(ill))
        return float(np.sqrt(between / ((ages - ages.mean()) ** 2).sum()))

    assert value(report, "age × ill") == pytest.approx(abs(ratio(one) - ratio(other)), abs=1e-9)


def test_figures_are_those_of_sdmetrics(patients: Any) -> None:
    pandas = pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sdmetrics")
        from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
        from sdmetrics.single_column import KSComplement, TVComplement

        one = patients.real(150, 1)
        other = patients.copula(one, 240, 2)
        real, made = pandas.DataFrame(one), pandas.DataFrame(other)
        theirs = {
            "pulse": 1 - KSComplement.compute(real["pulse"], made["pulse"]),
            "ill": 1 - TVComplement.compute(real["ill"], made["ill"]),
            "age × pulse": 2 * (1 - CorrelationSimilarity.compute(real[["age", "pulse"]], made[["age", "pulse"]])),
        }
        crossed = 1 - ContingencySimilarity.compute(real[["ill", "site"]], made[["ill", "site"]])
    ours = fidelity(other, one, [], patients.schema, QUICK)
    for name, theirs_of in theirs.items():
        assert value(ours, name) == pytest.approx(theirs_of, abs=1e-9), name
    # Of two columns alone the mean over pairs is that of the one pair.
    two = {name: patients.schema[name] for name in ("ill", "site")}
    assert value(fidelity(other, one, [], two, QUICK), "two-way tables of pairs, mean") == pytest.approx(
        crossed, abs=1e-9
    )


def test_empty_cells_are_a_class_of_a_category_and_a_share_of_a_number() -> None:
    schema: Schema = {
        "dose": Column(type="number", decimals=1, optional=True), "kind": Column(type="category", categories=("a", "b"), optional=True),
    }  # fmt: skip
    real: list[Record] = [
        {"dose": 1.0, "kind": "a"},
        {"dose": 2.0, "kind": "b"},
        {"dose": None, "kind": None},
        {"dose": 3.0, "kind": "a"},
    ]
    made: list[Record] = [{"dose": None, "kind": "a"}, {"dose": 2.0, "kind": "b"}]
    report = fidelity(made, real, [], schema, QUICK)
    assert report.missing == {"dose": (0.25, 0.5), "kind": (0.25, 0.0)}
    assert value(report, "kind") == 0.25  # a 0.5, b 0.25, empty 0.25 against 0.5, 0.5, 0
    assert value(report, "dose") == pytest.approx(1 / 3)
    json.dumps(report.figures(), allow_nan=False)


def test_a_single_column_and_a_constant_one_can_be_compared_and_text_cannot() -> None:
    one: Schema = {"x": Column(type="number", decimals=1)}
    rows: list[Record] = [{"x": 1.0, "y": 2.0, "note": "n"} for _ in range(20)]
    alone = fidelity(rows, rows, [], one, QUICK)
    assert [part.name for part in alone.trend] == ["columns, mean", "columns, worst"] and alone.passed
    assert fidelity(rows, rows, [], {**one, "y": one["x"]}, QUICK).passed
    assert fidelity(rows, rows, [], {"note": Column(type="text")}, QUICK).passed is None
    assert fidelity([], rows, [], one, QUICK).passed is None


def test_classifiers_tell_a_shifted_table_and_not_a_fresh_one(patients: Any) -> None:
    sample, holdout = patients.real(150, 1), patients.real(150, 2)
    space = TableSpace.of(sample, patients.schema)
    for one in detection(patients.real(200, 3), sample, holdout, space):
        assert one.auc.low < 0.55 and one.usual is not None
    shifted = [{**row, "pulse": row["pulse"] + 40} for row in patients.real(200, 3)]
    assert all(one.auc.low > 0.75 for one in detection(shifted, sample, [], space))
    assert detection(sample[:5], sample, holdout, space) == ()


def test_the_error_of_an_auc_is_hanley_and_mcneils() -> None:
    # 0.5 of 100 and 100: close to the square root of 201 / (12 * 100 * 100).
    assert auc_error(0.5, 100, 100) == pytest.approx(0.0409, abs=0.0005)
    assert auc_error(1.0, 10, 10) == 0
