"""A whole table: copies fail, honest generators pass, and nothing passes that was not measured."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from scipy.stats import betabinom

from understudy.columns import Column, Record, Schema
from understudy.evals.privacy import Finding, PrivacyReport, attack_limit, chance_limit, privacy
from understudy.privacy import Privacy

SEEDS = range(12)


def found(report: PrivacyReport, name: str) -> Finding:
    return next(one for one in report.findings if one.name == name)


def tables(patients: Any, seed: int, n: int = 200, held: int = 400) -> tuple[list[Record], list[Record]]:
    return patients.real(n, 1000 + seed), patients.real(held, 2000 + seed)


def test_a_copycat_with_jitter_fails_hit_rate_and_attack_every_time(patients: Any) -> None:
    for seed in SEEDS:
        sample, holdout = tables(patients, seed)
        report = privacy(patients.copycat(sample, 500, seed), sample, holdout, patients.schema, Privacy())
        assert report.passed is False
        for name in ("hit-rate", "attack-auc", "closest-record", "distance-ratio", "near-copies"):
            assert found(report, name).passed is False, name
        # Measured over 12 tables: hit rate 1.000, AUC 0.94 to 0.98.
        assert found(report, "hit-rate").value == 1 and (found(report, "attack-auc").value or 0) > 0.9


@pytest.mark.parametrize("kind", ["real", "copula", "independent"])
def test_generators_that_copy_nothing_pass_but_for_stated_false_alarms(patients: Any, kind: str) -> None:
    alarms = []
    for seed in SEEDS:
        sample, holdout = tables(patients, seed)
        made = patients.real(500, 3000 + seed) if kind == "real" else getattr(patients, kind)(sample, 500, 4000 + seed)
        report = privacy(made, sample, holdout, patients.schema, Privacy())
        alarms += [one.name for one in report.findings if one.passed is False]
        assert report.passed is not None
    # Six checks that chance can fail at 1 in 100 each: 0.7 are expected in 12 tables, more than 3 in 1 of 100 times.
    assert len(alarms) <= 3, alarms


def test_without_a_hold_out_nobody_says_that_it_passed(patients: Any) -> None:
    sample, _ = tables(patients, 1)
    report = privacy(patients.copula(sample, 500, 1), sample, [], patients.schema, Privacy())
    attack = found(report, "attack-auc")
    assert report.passed is None and attack.passed is None and attack.value is None and "held-out" in attack.told
    assert "no hold-out" in report.basis and found(report, "hit-rate").passed
    assert privacy(patients.copycat(sample, 500, 1), sample, [], patients.schema, Privacy()).passed is False


def test_three_verbatim_rows_among_five_hundred_are_seen(patients: Any) -> None:
    sample, holdout = tables(patients, 2)
    made = [*patients.copula(sample, 497, 2), *sample[:3]]
    report = privacy(made, sample, holdout, patients.schema, Privacy())
    exact = found(report, "exact-copies")
    assert (exact.value, exact.limit, exact.passed) == (3, 0, False) and report.passed is False
    assert exact.told == "3 of 500 rows are equal to a row of the sample."


def test_limits_of_the_recipe_stand_above_computed_ones(patients: Any) -> None:
    sample, holdout = tables(patients, 3)
    made = patients.copula(sample, 500, 3)
    strict = privacy(made, sample, holdout, patients.schema, Privacy(hit_rate=0.001, attack_auc=0.5, k=3))
    assert found(strict, "hit-rate").limit == 0.001 and found(strict, "hit-rate").passed is False
    assert found(strict, "attack-auc").limit == 0.5 and found(strict, "k-anonymity").passed is False


def test_a_planted_row_that_comes_back_fails_and_none_is_not_passed(patients: Any) -> None:
    sample, holdout = tables(patients, 4)
    planted = patients.real(2, 77)
    made = patients.copula(sample, 300, 4)
    clean = privacy(made, [*sample, *planted], holdout, patients.schema, Privacy(), planted)
    assert (found(clean, "canaries").value, found(clean, "canaries").passed) == (0, True)
    back = privacy([*made, planted[1]], [*sample, *planted], holdout, patients.schema, Privacy(), planted)
    assert (found(back, "canaries").value, found(back, "canaries").passed) == (1, False)
    assert found(privacy(made, sample, holdout, patients.schema, Privacy()), "canaries").passed is None


def test_quasi_identifiers_are_counted_by_hand() -> None:
    schema: Schema = {
        "age": Column(type="integer", identifying=True), "town": Column(type="category", categories=("a", "b"), identifying=True),
        "x": Column(type="number", decimals=2),
    }  # fmt: skip
    random = np.random.default_rng(0)

    def row(age: int, town: str) -> Record:
        return {"age": age, "town": town, "x": round(float(random.normal()), 2)}

    sample = [row(30, "a"), row(40, "a"), row(40, "a"), row(50, "b")]
    made = [row(30, "a")] * 2 + [row(40, "a")] * 5 + [row(60, "b")] * 1
    holdout = [row(40, "a"), row(50, "b"), row(70, "a"), row(30, "b")]
    report = privacy(made, sample, holdout, schema, Privacy(k=2))
    smallest, alone = found(report, "k-anonymity"), found(report, "singled-out")
    assert (smallest.value, smallest.limit, smallest.passed) == (1, 2, False)
    assert alone.value == 2 / 8 and alone.told == (
        "2 of 8 rows have the combination of exactly one row of the sample; so have 1 of 4 held-out rows."
    )
    nobody = privacy(
        made,
        sample,
        holdout,
        {name: column.model_copy(update={"identifying": False}) for name, column in schema.items()},
        Privacy(),
    )
    assert found(nobody, "k-anonymity").value is None and "identifying" in found(nobody, "k-anonymity").told


def test_the_longest_run_of_sensitive_words_is_counted() -> None:
    schema: Schema = {"note": Column(type="text", sensitive=True), "n": Column(type="integer")}
    sample: list[Record] = [{"note": "one two three four five six seven eight nine", "n": n} for n in range(3)]
    made: list[Record] = [{"note": "zero two three four five six seven eight ten", "n": 7}]
    overlap = found(privacy(made, sample, [], schema, Privacy()), "text-overlap")
    assert (overlap.value, overlap.passed) == (7, True)
    assert found(privacy(made, sample, [], schema, Privacy(overlap_words=7)), "text-overlap").passed is False
    apart: list[Record] = [{"note": "nothing alike", "n": 7}]
    assert found(privacy(apart, sample, [], schema, Privacy()), "text-overlap").value == 0


def test_what_cannot_be_measured_says_so_and_is_not_passed(patients: Any) -> None:
    sample, holdout = tables(patients, 5)
    for made, real, held in (([], sample, holdout), (sample[:5], sample[:2], [])):
        report = privacy(made, real, held, patients.schema, Privacy())
        rate = found(report, "hit-rate")
        assert rate.value is None and rate.passed is None and rate.told.startswith("Not measured")
        assert report.passed is not True and report.histogram is None
    text: Schema = {"note": Column(type="text")}
    notes: list[Record] = [{"note": f"note {n}"} for n in range(5)]
    assert privacy(notes, notes, notes, text, Privacy()).passed is False  # all are copies
    assert privacy([{"note": "new"}], notes, notes, text, Privacy()).passed is None


def test_few_combinations_are_no_copying_as_held_out_rows_share_them_too() -> None:
    """Distances tie at 0 for fresh rows as well, so the hit rate is held to what they show."""
    schema: Schema = {name: Column(type="category", categories=("n", "y")) for name in "abcdef"}
    random = np.random.default_rng(0)

    def draw(n: int) -> list[Record]:
        return [
            dict(zip("abcdef", map(str, random.choice(["n", "y"], 6, p=[0.7, 0.3])), strict=True)) for _ in range(n)
        ]

    sample, holdout = draw(100), draw(300)
    report = privacy(draw(300), sample, holdout, schema, Privacy())
    assert found(report, "hit-rate").passed and found(report, "attack-auc").passed
    assert "held-out rows, as there are few combinations" in found(report, "exact-copies").told
    assert found(report, "exact-copies").passed is False  # no row of the sample may be handed on, for whatever reason


def test_limits_follow_from_the_sizes() -> None:
    assert attack_limit(200, 400) == pytest.approx(0.588, abs=0.001)
    assert attack_limit(20_000, 40_000) == pytest.approx(0.536, abs=0.001)
    assert chance_limit(500, 20, 400) / 500 == pytest.approx(0.088, abs=0.003)
    assert chance_limit(50_000, 2000, 40_000) / 50_000 == pytest.approx(0.054, abs=0.001)
    assert betabinom.cdf(chance_limit(500, 20, 400), 500, 20.5, 380.5) >= 0.99


def test_figures_are_json_and_hold_no_cell_of_anybody() -> None:
    schema: Schema = {
        "name": Column(type="text", sensitive=True),
        "n": Column(type="integer"),
        "x": Column(type="number", decimals=3),
    }
    random = np.random.default_rng(0)

    def draw(n: int, who: str) -> list[Record]:
        return [
            {
                "name": f"{who}{k} Mandelbrot-Xylander",
                "n": int(random.integers(99)),
                "x": round(float(random.normal()), 3),
            }
            for k in range(n)
        ]

    sample, holdout = draw(50, "Q"), draw(50, "R")
    text = json.dumps(
        privacy(sample[:5] + draw(50, "S"), sample, holdout, schema, Privacy()).figures(), allow_nan=False
    )
    assert "Mandelbrot" not in text and json.loads(text)["passed"] is False
    assert asdict(found(privacy(sample, sample, holdout, schema, Privacy()), "exact-copies"))["value"] == 50
