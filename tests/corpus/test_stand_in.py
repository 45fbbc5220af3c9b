"""A differentially private stand-in: what is counted, what is claimed, and what stands in the way."""

import json
from pathlib import Path

import numpy as np
import pytest

from understudy.columns import Column, Record, Schema
from understudy.corpus import stand_in as module
from understudy.corpus.stand_in import _Coded, check_declared, claim_of, stand_in, write
from understudy.corpus.table_sample import read_sample, resolved
from understudy.errors import SchemaError
from understudy.graphs.table import Table
from understudy.recipe_file import load_recipe

SCHEMA: Schema = {
    "age": Column(type="integer", low=18, high=97),
    "ratio": Column(type="number", low=-1.0, high=1.0, decimals=2, optional=True),
    "dice": Column(type="integer", low=1, high=6),
    "ill": Column(type="category", categories=("no", "yes"), role="target"),
    "key": Column(type="text", role="ignored"),
}


def rows(count: int) -> list[Record]:
    rng = np.random.default_rng(0)
    found: list[Record] = []
    for _ in range(count):
        age = int(np.clip(rng.normal(55, 14), 18, 97))
        ill = "yes" if age + rng.normal(0, 8) > 62 else "no"
        ratio = None if rng.random() < 0.1 else round(float(np.clip(rng.normal(age / 97 - 0.5, 0.1), -1, 1)), 2)
        found.append({"age": age, "ratio": ratio, "dice": int(rng.integers(1, 7)), "ill": ill})
    return found


@pytest.mark.parametrize("bins", [2, 7, 8, 100])
def test_a_value_comes_back_as_one_of_its_class(bins: int) -> None:
    from random import Random

    for name, values in (("age", range(18, 98)), ("dice", range(1, 7)), ("ratio", np.arange(-100, 101) / 100)):
        coded = _Coded.of(SCHEMA[name], bins)
        found = {float(value): coded.code(float(value)) for value in values}
        assert set(found.values()) == set(coded.codes) and len(coded.codes) == min(bins, len(found))
        for value, code in found.items():
            assert code is not None
            back = {coded.cell(code, Random(seed)) for seed in range(40)}
            assert all(found[float(one)] == code for one in back if one is not None), (name, value, back)
            assert all(isinstance(one, int) == (SCHEMA[name].type == "integer") for one in back)
    assert {_Coded.of(SCHEMA["dice"], 8).cell(code, Random(0)) for code in "012345"} == {1, 2, 3, 4, 5, 6}


def test_rows_are_decoded_and_an_empty_cell_stands_only_where_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str | None]] = []

    def released(
        coded: list[dict[str, str | None]], codes: dict[str, list[str]], epsilon: float, count: int | None
    ) -> list[dict[str, str | None]]:
        seen.extend(coded)
        assert epsilon == 2.5 and count == 9 and codes["ill"] == ["no", "yes"] and "key" not in codes
        return [*coded[:8], dict.fromkeys(codes)]

    monkeypatch.setattr(module, "_released", released)
    real = rows(30)
    made = stand_in(real, SCHEMA, 2.5, 8, 9)
    assert len(seen) == 30 and {row["age"] for row in seen} <= set("01234567")
    assert [row["ill"] for row in made[:8]] == [row["ill"] for row in real[:8]]
    assert made[8]["ratio"] is None and made[8]["ill"] in ("no", "yes") and isinstance(made[8]["age"], int)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (Column(type="text"), "free text(.|\n)*ignored"),
        (Column(type="number", low=0, decimals=1), "no range"),
        (Column(type="integer", high=0), "no range"),
    ],
)
def test_what_would_have_to_be_read_off_the_rows_is_refused(column: Column, said: str) -> None:
    check_declared(SCHEMA, "s.yaml")
    with pytest.raises(SchemaError, match=said):
        check_declared(SCHEMA | {"more": column}, "s.yaml")


def test_a_claim_holds_for_the_very_file(tmp_path: Path) -> None:
    path = tmp_path / "private.csv"
    claim = write(path, rows(25), 3)
    assert claim_of(path) == claim and "epsilon = 3 for one row added or removed" in claim.told()
    path.write_text(path.read_text() + "40,0.1,3,yes\n")
    assert claim_of(path) is None
    write(path, rows(25), 3)
    (tmp_path / "private.epsilon.json").write_text(json.dumps({"epsilon": 1}))
    assert claim_of(path) is None


RECIPE = """
name: people
seeds: [{path: private.csv, kind: table}]
accept: 4
sm: {backend: scripted}
rows: {use_case: people who were asked, target: [ill], canaries: 0, holdout: 0.2}
"""


def test_what_is_made_from_a_stand_in_alone_carries_its_claim(tmp_path: Path) -> None:
    write(tmp_path / "private.csv", rows(200), 3)
    write(tmp_path / "other.csv", rows(260)[200:], 3)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    table = Table.of(resolved(load_recipe(tmp_path / "recipe.yaml")))
    figures = table.figures(rows(60), {})
    assert figures["claim"].startswith("differentially private with epsilon = 3")
    # Rows of another file decide what is refused, and nobody has bounded what that says of them.
    apart = read_sample(resolved(load_recipe(tmp_path / "recipe.yaml", ("rows.holdout=other.csv",))))
    assert apart.claim is None
    against = read_sample(resolved(load_recipe(tmp_path / "recipe.yaml", ("dedup.against=[earlier]",))))
    assert against.claim is None
    (tmp_path / "private.epsilon.json").unlink()
    assert Table.of(resolved(load_recipe(tmp_path / "recipe.yaml"))).figures(rows(60), {})["claim"] is None


@pytest.mark.slow
def test_noisy_counts_keep_what_goes_together_and_less_epsilon_keeps_less() -> None:
    """The real mechanism, on three columns."""
    schema = {name: SCHEMA[name] for name in ("age", "dice", "ill")}
    real = [{name: row[name] for name in schema} for row in rows(2000)]

    def gap(table: list[Record]) -> float:
        ages = {ill: [float(str(row["age"])) for row in table if row["ill"] == ill] for ill in ("yes", "no")}
        return float(np.mean(ages["yes"]) - np.mean(ages["no"])) if all(ages.values()) else 0.0

    def ill(table: list[Record]) -> float:
        return sum(row["ill"] == "yes" for row in table) / len(table)

    near = stand_in(real, schema, 3, 8, 2000)
    pairs = [(float(str(row["age"])), float(str(row["dice"]))) for row in near]
    assert len(near) == 2000 and gap(near) == pytest.approx(gap(real), abs=4)  # measured: 18.7 of 20.2
    assert ill(near) == pytest.approx(ill(real), abs=0.05) and abs(np.corrcoef(pairs, rowvar=False)[0, 1]) < 0.12
    far = stand_in(real, schema, 0.01, 8, 2000)  # measured: a gap of 5.4 years, and 5 of 2000 ill in place of 640
    assert abs(ill(far) - ill(real)) > 0.05 or abs(gap(far) - gap(real)) > 4
