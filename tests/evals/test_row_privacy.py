"""One row against the sample: copies are refused for the right reason, honest rows are not."""

import time
from typing import Any

import numpy as np
import pytest

from understudy.columns import Column, Record, Schema
from understudy.evals.row_privacy import RowPrivacy, tail
from understudy.privacy import Privacy

FIRST = ["came in", "was sent", "arrived", "returned", "was brought", "walked in"]
WHY = [
    "with a sore knee",
    "for a broken wrist",
    "because of chest pain",
    "after a fall",
    "with a high fever",
    "to be vaccinated",
]
AND = [
    "gardening",
    "a long flight",
    "moving house",
    "a football match",
    "eating oysters",
    "a week in the mountains",
    "painting a ceiling",
]
NOTES: Schema = {
    "age": Column(type="integer", low=0, high=110),
    "pressure": Column(type="number", decimals=1),
    "pulse": Column(type="number", decimals=1),
    "weight": Column(type="number", decimals=1),
    "note": Column(type="text", sensitive=True),
}


def patients_with_notes(n: int, seed: int) -> list[Record]:
    random = np.random.default_rng(seed)

    def word() -> str:
        return "".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), 7))

    rows: list[Record] = []
    for z in random.multivariate_normal(np.zeros(4), np.full((4, 4), 0.4) + 0.6 * np.eye(4), n):
        note = f"{word().title()} {random.choice(FIRST)} {random.choice(WHY)} after {word()} and told of {random.choice(AND)}"
        rows.append(
            {
                "age": int(np.clip(round(50 + 15 * z[0]), 0, 110)), "pressure": round(float(130 + 17 * z[1]), 1),
                "pulse": round(float(75 + 12 * z[2]), 1), "weight": round(float(75 + 14 * z[3]), 1), "note": note,
            }
        )  # fmt: skip
    return rows


def refused(rows: RowPrivacy, record: Record) -> list[str]:
    return [verdict.by for verdict in rows.verdicts(record) if not verdict.passed]


def with_letters_changed(text: str) -> str:
    return text.replace("e", "a", 1).replace("o", "u", 1)


def test_five_copies_are_caught_for_the_right_reason_and_honest_rows_are_kept() -> None:
    lost = []
    for seed in range(10):
        sample, fresh = patients_with_notes(200, seed), patients_with_notes(188, 1000 + seed)
        rows = RowPrivacy.of(sample, patients_with_notes(400, 2000 + seed), NOTES, Privacy())
        lost.append(sum(bool(refused(rows, record)) for record in fresh))
        verbatim = [dict(record) for record in sample[:3]]
        verbatim[1]["note"] = "  " + str(verbatim[1]["note"]).upper()
        for place, record in enumerate(verbatim):
            assert "privacy/exact-copy" in refused(rows, record)
            assert rows.exact(record).evidence == f"equal to row {place + 1} of the sample"
        # All numbers are another's: only the sensitive text is a copy.
        for record, source in zip(fresh[:2], sample[10:12], strict=True):
            twin = {**record, "note": with_letters_changed(str(source["note"]))}
            assert twin["note"] != source["note"] and "privacy/near-copy" in refused(rows, twin)
    # By the default limit 1 row in 5,000 is lost by chance: of ten times 188 rows, 1 was.
    assert sum(lost) <= 2 and lost.count(0) >= 8


def test_jitter_and_one_changed_cell_hide_no_copy(patients: Any) -> None:
    good = moved = replaced = 0
    names = list(patients.schema)
    for seed in range(10):
        sample = patients.real(200, seed)
        rows = RowPrivacy.of(sample, patients.real(400, 100 + seed), patients.schema, Privacy())
        good += sum(bool(refused(rows, record)) for record in patients.real(188, 200 + seed))
        moved += sum(bool(refused(rows, record)) for record in patients.copycat(sample, 200, seed))
        for place, (real, other) in enumerate(zip(sample, patients.real(200, 300 + seed), strict=True)):
            name = names[place % 6]
            replaced += bool(refused(rows, {**real, name: other[name]}))
    # Measured: known good, 0 of 1,880 fresh rows; known broken, 1,626 and 2,000 of 2,000 copies.
    assert good <= 2 and moved > 1400 and replaced > 1800


def test_a_threshold_of_a_twentieth_loses_a_twentieth_of_honest_rows(patients: Any) -> None:
    rows = RowPrivacy.of(patients.real(200, 1), patients.real(400, 2), patients.schema, Privacy(near=0.05))
    lost = sum(bool(refused(rows, record)) for record in patients.real(1000, 3)) / 1000
    assert 0.04 < lost < 0.15  # two distances are held to it


def test_few_combinations_leave_no_near_copies_to_find_but_exact_ones() -> None:
    schema: Schema = {name: Column(type="category", categories=("no", "yes")) for name in "abcd"}
    random = np.random.default_rng(0)

    def draw(n: int) -> list[Record]:
        return [dict(zip("abcd", map(str, random.choice(["no", "yes"], 4)), strict=True)) for _ in range(n)]

    sample = [row for row in draw(60) if row["a"] == "no"]
    rows = RowPrivacy.of(sample, draw(50), schema, Privacy())
    assert rows.trimmed == 0
    fresh = dict.fromkeys("abcd", "yes")
    assert refused(rows, fresh) == [] and refused(rows, sample[0]) == ["privacy/exact-copy"]


def test_one_twin_of_the_sample_in_the_hold_out_does_not_blind_the_rule(patients: Any) -> None:
    sample, holdout = patients.real(200, 1), patients.real(400, 2)
    rows = RowPrivacy.of(sample, [*holdout, sample[0]], patients.schema, Privacy())
    assert rows.whole > 0 and rows.trimmed > 0


def test_eight_words_in_a_row_of_a_sensitive_text_are_too_many_wherever_they_stand() -> None:
    schema: Schema = {
        "story": Column(type="text", sensitive=True), "remark": Column(type="text"),
        "n": Column(type="integer", low=0, high=9),
    }  # fmt: skip
    secret = "she found the letters of her late aunt in a biscuit tin under the stairs"
    sample: list[Record] = [
        {"story": secret, "remark": "none", "n": 1},
        {"story": "nothing to tell", "remark": "a", "n": 2},
    ]
    rows = RowPrivacy.of(sample, [], schema, Privacy())
    long: Record = {"story": "well", "remark": "It says: FOUND the letters, of her late aunt in a drawer", "n": 3}
    (verdict,) = [one for one in rows.verdicts(long) if one.by == "privacy/text-overlap"]
    assert not verdict.passed and verdict.evidence == "9 words in a row of a sensitive text, limit 8"
    assert "aunt" not in str(verdict)
    short: Record = {"story": "found the letters of her late aunt", "remark": "", "n": 3}
    assert refused(rows, short) == []
    assert "privacy/text-overlap" in refused(RowPrivacy.of(sample, [], schema, Privacy(overlap_words=7)), short)


def test_words_of_a_form_that_many_rows_have_are_nobodys() -> None:
    schema: Schema = {"story": Column(type="text", sensitive=True), "n": Column(type="integer", low=0, high=99)}
    form = "the patient was told of all risks and has signed the form"
    sample: list[Record] = [{"story": f"{form} number{n}", "n": n} for n in range(5)]
    rows = RowPrivacy.of(sample, [], schema, Privacy())
    assert rows.overlap({"story": form, "n": 50}).passed
    assert not RowPrivacy.of(sample[:4], [], schema, Privacy()).overlap({"story": form, "n": 50}).passed


def test_a_planted_row_is_known_again_whole_or_nearly() -> None:
    sample, holdout = patients_with_notes(100, 1), patients_with_notes(300, 2)
    planted: list[Record] = [
        {"age": 41, "pressure": 155.5, "pulse": 60.1, "weight": 92.0, "note": "Zephyrine Quillfeather keeps bees"}
    ]
    rows = RowPrivacy.of([*sample, *planted], holdout, NOTES, Privacy(), planted)
    assert "privacy/canary" in refused(rows, dict(planted[0]))
    assert "privacy/canary" in refused(rows, {**planted[0], "pulse": 60.2, "note": "came in"})
    assert "privacy/canary" in refused(rows, {**holdout[0], "note": "As Zephyrine  Quillfeather keeps bees, he left"})
    assert not any("privacy/canary" in refused(rows, record) for record in patients_with_notes(100, 3))


def test_a_planted_text_that_real_rows_have_too_is_no_sign() -> None:
    sample, holdout = patients_with_notes(100, 1), patients_with_notes(300, 2)
    schema = {**NOTES, "ward": Column(type="text")}
    for row in (*sample, *holdout):
        row["ward"] = "the old surgery"
    planted: list[Record] = [{**patients_with_notes(1, 9)[0], "ward": "the old surgery", "note": "made up by nobody"}]
    rows = RowPrivacy.of([*sample, *planted], holdout, schema, Privacy(), planted)
    assert rows.canary(holdout[0]).passed and not rows.canary({**holdout[0], "note": "Made up by nobody"}).passed


def test_empty_cells_are_compared_like_others_and_an_empty_sample_refuses_nothing() -> None:
    schema: Schema = {name: Column(type="number", decimals=2, optional=True) for name in "abcde"}
    random = np.random.default_rng(0)

    def draw(n: int) -> list[Record]:
        return [
            {name: None if random.random() < 0.2 else round(float(random.normal()), 2) for name in "abcde"}
            for _ in range(n)
        ]

    sample = draw(150)
    rows = RowPrivacy.of(sample, draw(300), schema, Privacy())
    assert refused(rows, dict(sample[3])) == ["privacy/exact-copy", "privacy/near-copy"]
    assert sum(bool(refused(rows, record)) for record in draw(100)) <= 5
    nobody = RowPrivacy.of([], [], schema, Privacy())
    assert refused(nobody, sample[0]) == [] and nobody.whole == 0


def test_without_a_hold_out_it_says_what_stands_in(patients: Any) -> None:
    rows = RowPrivacy.of(patients.real(200, 1), [], patients.schema, Privacy())
    assert "distances of the sample's rows to one another" in rows.basis and rows.whole > 0
    assert (
        "one another"
        not in RowPrivacy.of(patients.real(200, 1), patients.real(300, 2), patients.schema, Privacy()).basis
    )


def test_a_row_takes_less_than_a_millisecond_with_hundreds_of_sample_rows() -> None:
    rows = RowPrivacy.of(patients_with_notes(300, 1), patients_with_notes(300, 2), NOTES, Privacy())
    fresh = patients_with_notes(200, 3)
    took = []
    for record in fresh:
        start = time.process_time()
        rows.verdicts(record)
        took.append(time.process_time() - start)
    assert sorted(took)[100] < 0.002  # 0.0005 where nothing else runs


def test_the_tail_is_extrapolated_by_the_dimension_of_the_data() -> None:
    random = np.random.default_rng(0)
    distances = random.uniform(size=4000) ** (1 / 3)  # three dimensions: the share within r is r cubed
    assert tail(distances, 0.001) == pytest.approx(0.1, rel=0.15)
    assert tail(distances, 0.2) == pytest.approx(0.2 ** (1 / 3), rel=0.05)
    assert tail(np.zeros(10), 0.001) == 0 and tail(np.array([0.0, 1.0]), 0.6) > 0


def test_a_short_sensitive_cell_of_one_row_is_not_repeated_unless_others_have_it_too() -> None:
    schema: Schema = {"name": Column(type="text", sensitive=True), "n": Column(type="integer", low=0, high=999)}
    known = ["Zoltan", "ok", "K7", "x", "Ann", "Ann"]
    sample: list[Record] = [{"name": name, "n": 10 * n} for n, name in enumerate(known)]
    fresh: list[Record] = [{"name": name, "n": 500 + 7 * n} for n, name in enumerate(["ok", "Bo", "Lu"])]
    rows = RowPrivacy.of(sample, fresh, schema, Privacy())

    def told(name: str) -> str | None:
        return rows.alike({"name": name, "n": 777})

    assert told(" ZOLTAN ") == "name is that of row 1 of the sample, and of no other row"
    assert told("k7") is not None
    # A fresh row has the first, two rows the second; one letter finds nobody; and nobody has the last.
    assert [told(name) for name in ("ok", "Ann", "x", "Zoltana")] == [None] * 4
    # Without fresh rows nobody knows what is common.
    assert RowPrivacy.of(sample, [], schema, Privacy()).alike({"name": "Zoltan", "n": 777}) is None
