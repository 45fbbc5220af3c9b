"""The table route: rows to a sketch, checked as they are written; copies refused; quotas kept; runs resumed."""

import asyncio
import csv
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from understudy.columns import Record
from understudy.corpus import RunFolder
from understudy.corpus.export import export
from understudy.corpus.hub import check_private, chosen
from understudy.corpus.table_sample import block_of, read_sample, resolved
from understudy.corpus.table_schema import infer, line, read_line, typed
from understudy.errors import PromptError, RecipeError, RunFolderError, SchemaError, SeedError, UserError
from understudy.graphs import Outcome, generate
from understudy.graphs.copula import Classes, Copula
from understudy.graphs.table import Table
from understudy.models import Scripted
from understudy.nouns import Messages
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

RECIPE = """
name: people
seeds: [{path: people.csv, kind: table}]
accept: 40
draws_per_seed: 20
in_flight: 1
sm: {backend: scripted}
rows:
  use_case: people who were asked
  holdout: 0.3
  target: [ill]
  shown: 5
  canaries: 0
"""


WORDS = [a + b + c for a in "bdfgklmnprst" for b in ("a", "oo", "ei") for c in ("nd", "rk", "lm", "st")]


def people(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a declared copula: age, pressure and weight go together, and who is ill is old."""
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky(np.array([[1, 0.7, 0.3], [0.7, 1, 0.5], [0.3, 0.5, 1]]))
    drawn = rng.standard_normal((count, 3)) @ factor.T
    return [
        {
            "age": int(50 + 12 * a), "pressure": int(130 + 18 * p), "weight": f"{75 + 12 * w:.1f}",
            "sex": "fm"[int(rng.random() < 0.5)], "note": "said " + " ".join(WORDS[place] for place in rng.integers(0, len(WORDS), 6)),
            "ill": "yes" if a + 0.5 * rng.standard_normal() > 0.8 else "no",
        }
        for n, (a, p, w) in enumerate(drawn)
    ]  # fmt: skip


def project(home: Path, text: str = RECIPE, rows: list[dict[str, Any]] | None = None, note: bool = False) -> Path:
    home.mkdir(exist_ok=True)
    rows = people(300) if rows is None else rows
    names = [name for name in rows[0] if note or name != "note"]
    with (home / "people.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    (home / "recipe.yaml").write_text(text)
    return home / "recipe.yaml"


def loaded(path: Path, *changes: str) -> Recipe:
    return resolved(load_recipe(path, changes))


def run(path: Path, script: Any = None, *changes: str, out: str = "corpus") -> tuple[Path, Outcome]:
    recipe = load_recipe(path, changes)
    sm = None if script is None else Scripted(script=script)
    outcome = asyncio.run(generate(recipe, path.parent / out, sm=sm))
    return path.parent / out, outcome


def fresh(recipe: Recipe, count: int, seed: int = 9) -> list[Record]:
    """Rows that nobody has seen, within the schema."""
    schema = {name: column for name, column in block_of(recipe)[1].items() if name != "note"}
    found = []
    for row in people(count * 3, seed):
        with suppress(SchemaError):  # beyond the range of the sample
            found.append(typed(row, schema, "fresh"))
    return found[:count]


def test_a_row_goes_from_sketch_to_example(tmp_path: Path) -> None:
    corpus, outcome = run(project(tmp_path))
    assert outcome.ended == "goal"
    with RunFolder.read(corpus) as folder:
        table = Table.of(folder.recipe)
        found = list(folder.examples("accepted"))
        assert len(found) == 40
        for one in found:
            row = one.payload["row"]
            asked, answered = (turn["content"] for turn in one.payload["messages"])
            assert one.kind == "row" and one.persona is None and answered == row["ill"]
            assert asked.startswith("people who were asked\nage: ") and asked.endswith("What is ill?")
            assert "ill: " not in asked and f"weight: {row['weight']:.1f}" in asked
            assert not read_line(line(row, table.schema), table.schema)[1]
            assert {verdict.by for verdict in one.verdicts} >= {
                "rule/schema", "rule/sketch", "privacy/exact-copy", "privacy/near-copy"
            }  # fmt: skip
            call = folder.call(one.calls[0])
            assert call is not None and len(call.messages) == 1  # no system text
            shown = call.messages[0]["content"]
            assert shown.startswith("people who were asked:\nill | age | pressure | weight | sex\n")
            assert f"Wanted: ill {answered}" in shown
        held = {line(record, table.schema) for record in table.sample.holdout}
        asked_of = [folder.call(key) for one in found for key in one.calls]
        assert held and not any(text in call.messages[0]["content"] for call in asked_of if call for text in held)


def test_planted_defects_are_dropped_by_name_and_nothing_else_is(tmp_path: Path) -> None:
    rows = people(300)
    path = project(tmp_path, RECIPE.replace("target: [ill]", "sketch: 0"), rows, note=True)
    recipe = loaded(path)
    _, schema = block_of(recipe)
    sample = read_sample(recipe).rows
    good = fresh(recipe, 188)
    copied = list(sample[:3])
    near = [dict(row) | {"note": str(row["note"])[:-2] + "xx"} for row in sample[3:5]]
    near = [record | {"age": other["age"], "pressure": other["pressure"], "weight": other["weight"]}
            for record, other in zip(near, good[::-1], strict=False)]  # fmt: skip
    # What an SM would say: the cells, then the note; a defect of the cells never comes to its note.
    plan: list[tuple[str, list[str], str]] = []
    plan += [
        ("accepted", [line(row, schema), f"an answer of its own, number {n} of all"], "") for n, row in enumerate(good)
    ]
    plan += [("rejected", [line(row, schema), str(row["note"])], "privacy/exact-copy") for row in copied]
    plan += [("rejected", [line(row, schema), str(row["note"])], "privacy/near-copy") for row in near]
    for cells in (
        "2 | 130 | 70.0 | f | no",
        "50 | 400 | 70.0 | f | no",
        "50 | 130 | 999.0 | f | no",
        "900 | 130 | 70.0 | f | no",
    ):
        plan.append(("rejected", [cells], "rule/range"))
    plan += [("failed", ["no cells at all", "once more none"], "parse: instruct/more-rows")] * 3
    Random(4).shuffle(plan)
    script = [reply for _, replies, _ in plan for reply in replies]
    corpus, _ = run(path, script, "accept=188", "rows.columns=null", "dedup.minhash=null")
    with RunFolder.read(corpus) as folder:
        got = [
            (one.status, one.reason)
            for status in ("accepted", "rejected", "failed", "duplicate")
            for one in folder.examples(status)  # type: ignore[arg-type]
        ]
    wanted = Counter((status, reason or None) for status, _, reason in plan)
    # The run ends with the 188th good row: defects after it are never asked for.
    last = max(place for place, one in enumerate(plan) if one[0] == "accepted")
    wanted -= Counter((status, reason or None) for status, _, reason in plan[last + 1 :])
    assert Counter(got) == wanted and wanted["accepted", None] == 188


def test_quotas_make_rare_classes_and_sketches_hold(tmp_path: Path) -> None:
    path = project(tmp_path, RECIPE + "  quotas: {ill: {'yes': 0.5, 'no': 0.5}}\n")
    corpus, _ = run(path, None, "accept=100")
    with RunFolder.read(corpus) as folder:
        found = list(folder.examples("accepted"))
    shares = Counter(one.payload["row"]["ill"] for one in found)
    assert sum(shares.values()) == 100 and abs(shares["yes"] - 50) <= 6
    assert sum(row["ill"] == "yes" for row in people(300)) < 100


def test_a_row_of_another_class_than_was_asked_for_is_refused(tmp_path: Path) -> None:
    path = project(tmp_path)
    good = fresh(loaded(path), 60)
    _, schema = block_of(loaded(path))

    def contrary(messages: Messages) -> str:
        asked = messages[0]["content"].partition("Wanted: ill ")[2]
        row = good[len(asked) % len(good)]
        return line(row | {"ill": "no" if asked.startswith("yes") else "yes"}, schema)

    corpus, outcome = run(path, contrary, "draws_per_seed=1")
    assert outcome.ended == "turns" and outcome.books.drafts["accepted"] == 0
    with RunFolder.read(corpus) as folder:
        assert {one.reason for one in folder.examples("rejected")} <= {"rule/sketch"}


def test_every_row_of_the_sample_is_shown_and_none_more_often_than_its_share(tmp_path: Path) -> None:
    recipe = loaded(project(tmp_path, RECIPE.replace("canaries: 0", "canaries: 3")))
    from understudy.corpus.readers import read_sources

    sample = read_sample(recipe)
    seeds = [seed for _, seed in read_sources(recipe)]
    names = list(block_of(recipe)[1])
    uses = Counter(tuple(row) for seed in seeds for row in seed.meta["rows"])
    cards = [tuple(row[name] for name in names) for row in (*sample.rows, *sample.canaries)]
    assert len(sample.canaries) == 3 and set(uses) <= set(cards)
    twins = Counter(cards)
    assert all(uses[card] <= 5 * twins[card] for card in twins) and sum(uses.values()) == 5 * len(seeds)
    assert len(seeds) == 4 * round(len(cards) / 5) and len({seed.id for seed in seeds}) == len(seeds)


def test_twins_stand_on_one_side_of_the_hold_out(tmp_path: Path) -> None:
    rows = people(60) * 3
    sample = read_sample(loaded(project(tmp_path, rows=rows)))
    shown = {json.dumps(row) for row in sample.rows}
    assert sample.rows and not any(json.dumps(row) in shown for row in sample.holdout)


def test_free_text_is_written_as_a_persona_would_and_checked(tmp_path: Path) -> None:
    path = project(tmp_path, note=True)
    copied = [row["note"] for row in people(300)]

    def speaks(messages: Messages) -> str:
        asked = messages[0]["content"]
        if "Write note" not in asked:
            return line(
                good[int(asked.count("1")) % len(good)] | {"ill": "yes" if "Wanted: ill yes" in asked else "no"}, schema
            )
        assert "It is about this person: " in asked and "- said " in asked
        shown = asked.partition("- ")[2].splitlines()[0]
        return (
            shown if "ill yes" in asked or "| yes |" in asked else f"they spoke of {len(asked)} other things that day"
        )

    good, (_, schema) = fresh(loaded(path), 80), block_of(loaded(path))
    corpus, outcome = run(path, speaks, "accept=10", "dedup.minhash=null")
    with RunFolder.read(corpus) as folder:
        for one in folder.examples("accepted"):
            assert one.payload["row"]["note"] not in copied and one.persona is not None and len(one.calls) == 2
        reasons = Counter(one.reason for one in folder.examples("rejected"))
    assert outcome.books.drafts["accepted"] == 10 and reasons.keys() <= {"privacy/near-copy", "privacy/exact-copy"}


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (("target: [ill]", "target: [il]"), SchemaError, "no column `il`"),
        (("shown: 5", "shown: 1"), RecipeError, "rows.shown"),
        (("holdout: 0.3", "holdout: 0.95"), RecipeError, "0..0.9"),
        (("holdout: 0.3", "holdout: gone.csv"), SeedError, "gone.csv"),
        (("canaries: 0", "quotas: {ill: {'yes': 0.9}}"), RecipeError, "add up to 1"),
        (("canaries: 0", "quotas: {ill: {'maybe': 1.0}}"), SchemaError, "no value `maybe`"),
        (("canaries: 0", "quotas: {age: {'1': 1.0}}"), SchemaError, "no target column"),
        (("canaries: 0", "test_share: 0.2"), RecipeError, "unknown key"),
        (("accept: 40", "accept: 40\ntest_share: 0.2"), RecipeError, "rows.holdout"),
        (("accept: 40", "accept: 40\ninverted: {text: sex}"), RecipeError, "nothing beside `rows`"),
        (("accept: 40", "accept: 40\nagents: {instruct: [describe-rows]}"), PromptError, "does not say `first: row`"),
        (("  target: [ill]", "  columns: s.yaml"), SchemaError, "table schema"),
        (("kind: table", "kind: text"), RecipeError, "kind `table`"),
    ],
)
def test_what_makes_no_sense_is_told_before_a_call(
    tmp_path: Path, change: tuple[str, str], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        run(project(tmp_path, RECIPE.replace(*change)))
    assert said in str(caught.value) and not (tmp_path / "corpus").exists()


def test_a_cell_that_does_not_fit_the_schema_is_told_with_file_and_line(tmp_path: Path) -> None:
    rows = people(80)
    path = project(tmp_path, rows=rows)
    (tmp_path / "s.yaml").write_text(
        "columns:\n  age: {type: integer, low: 0, high: 120}\n  ill: {type: category, categories: ['yes', 'no'], role: target}\n"
    )
    text = (tmp_path / "people.csv").read_text().splitlines()
    text[6] = text[6].replace(text[6].split(",")[0], "old", 1)
    (tmp_path / "people.csv").write_text("\n".join(text) + "\n")
    path.write_text(RECIPE.replace("target: [ill]", "columns: s.yaml"))
    with pytest.raises(SchemaError, match="a whole number") as caught:
        run(path)
    assert caught.value.where and caught.value.where.endswith("people.csv:7")


def test_columns_of_a_file_without_a_header_are_named_in_the_recipe(tmp_path: Path) -> None:
    path = project(tmp_path)
    text = (tmp_path / "people.csv").read_text().splitlines()
    (tmp_path / "people.csv").write_text("\n".join(text[1:]) + "\n")
    named = RECIPE.replace("kind: table", "kind: table, columns: [age, pressure, weight, sex, ill]")
    path.write_text(named)
    corpus, outcome = run(path, None, "accept=5")
    assert outcome.books.drafts["accepted"] == 5 and corpus.is_dir()


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    path = project(tmp_path)
    whole, _ = run(path)
    run(path, None, "accept=15", out="parts")
    parts, _ = run(path, out="parts")
    with RunFolder.read(whole) as one, RunFolder.read(parts) as other:
        assert [e.id for e in one.examples("accepted")] == [e.id for e in other.examples("accepted")]


def test_a_copula_keeps_margins_and_what_goes_together() -> None:
    rows: list[Record] = [{name: row[name] for name in ("age", "pressure", "sex", "ill")} for row in people(600)]
    schema = infer([dict(row) for row in rows], ["ill"])
    drawn = [Copula.fit(rows, list(schema)).record(Random(n)) for n in range(1500)]

    def numbers(of: list[Record], name: str) -> list[float]:
        return [float(row[name]) for row in of]  # type: ignore[arg-type]

    real = np.corrcoef(numbers(rows, "age"), numbers(rows, "pressure"))[0, 1]
    assert abs(np.corrcoef(numbers(drawn, "age"), numbers(drawn, "pressure"))[0, 1] - real) < 0.08
    assert abs(np.mean(numbers(drawn, "age")) - np.mean(numbers(rows, "age"))) < 1.5

    def gap(of: list[Record]) -> float:
        ages = {value: [float(row["age"]) for row in of if row["ill"] == value] for value in ("yes", "no")}  # type: ignore[arg-type]
        return float(np.mean(ages["yes"]) - np.mean(ages["no"]))

    assert gap(drawn) > 0.6 * gap(rows) > 5  # who is ill is old, also in what is drawn
    ill = [Classes(rows, schema, list(schema)).of({"ill": "yes"}).record(Random(n)) for n in range(50)]
    assert {row["ill"] for row in ill} == {"yes"}


def test_a_copula_of_columns_that_never_vary_or_are_empty_draws_them_as_they_are() -> None:
    rows: list[Record] = [{"a": 1, "b": None if n % 2 else n, "c": "x"} for n in range(30)]
    schema = infer([dict(row) for row in rows])
    drawn = [Copula.fit(rows, ["a", "b", "c"]).record(Random(n)) for n in range(300)]
    assert {row["a"] for row in drawn} == {1} and {row["c"] for row in drawn} == {"x"}
    assert 100 < sum(row["b"] is None for row in drawn) < 200
    rough = Copula.fit(rows, ["a", "b", "c"]).rough(Random(1), ["a", "b", "c"], schema)
    assert (
        schema["a"].type == "category"
        and rough["a"] == "1"
        and (rough["b"] is None or isinstance(rough["b"], tuple))
        and rough["c"] == "x"
    )


def scripted(how: str, recipe: Recipe, seed: int = 1) -> Any:
    """An SM that copies what it is shown, writes each cell by itself, or knows what goes together."""
    _, schema = block_of(recipe)
    rng, real = Random(seed), np.random.default_rng(seed)
    made = fresh(recipe, 600, seed + 50)
    sample = read_sample(recipe).rows

    def say(messages: Messages) -> str:
        if how == "copula":
            return line(made.pop(), schema)
        if how == "independent":
            return line({name: rng.choice(sample)[name] for name in sample[0]}, schema)
        _, wrong = "", True
        while wrong:
            row = dict(rng.choice(sample))
            if how == "jitter":
                for name, spread in (("age", 0.8), ("pressure", 1.0), ("weight", 0.6)):
                    row[name] = row[name] + spread * real.standard_normal()  # type: ignore[operator]
                row |= {name: round(row[name]) for name in ("age", "pressure")}  # type: ignore[arg-type]
            text = line(row, schema)
            wrong = bool(read_line(text, schema)[1])
        return text

    return say


@pytest.mark.parametrize(
    ("how", "private", "true"), [("jitter", False, None), ("independent", True, False), ("copula", True, True)]
)
def test_a_copycat_fails_privacy_independent_columns_fail_fidelity_and_a_copula_passes_both(
    tmp_path: Path, how: str, private: bool, true: bool | None
) -> None:
    rows = people(600)
    path = project(tmp_path, RECIPE.replace("target: [ill]", "sketch: 0"), rows)
    corpus, outcome = run(
        path, scripted(how, loaded(path)), "accept=400", "rows.holdout=0.66",
        "dedup.minhash=null", "draws_per_seed=100", "in_flight=1",
    )  # fmt: skip
    assert outcome.ended == "goal"
    refused = sum(count for reason, count in outcome.books.reasons.items() if "privacy/" in reason)
    assert (refused > 10) is not private
    told = json.loads((corpus / "report.json").read_text())["figures"]["table"]
    assert told["privacy"]["passed"] is private
    if true is not None:
        assert told["fidelity"]["passed"] is true


def test_a_hole_around_the_members_gives_them_away_as_well(tmp_path: Path) -> None:
    path = project(tmp_path, RECIPE.replace("target: [ill]", "sketch: 0"), people(600))
    corpus, _ = run(
        path, scripted("jitter", loaded(path)), "accept=400", "rows.holdout=0.66", "rows.privacy.near=0.05",
        "dedup.minhash=null", "draws_per_seed=100", "in_flight=1",
    )  # fmt: skip
    told = json.loads((corpus / "report.json").read_text())["figures"]["table"]["privacy"]
    (attack,) = (one for one in told["findings"] if one["name"] == "attack-auc")
    assert "as the farther one" in attack["told"] and attack["passed"] is False and told["passed"] is False


def test_what_is_copied_word_for_word_never_gets_into_the_corpus(tmp_path: Path) -> None:
    path = project(tmp_path, RECIPE.replace("target: [ill]", "sketch: 0"))
    corpus, outcome = run(path, scripted("copy", loaded(path)), "draws_per_seed=1", "dedup.minhash=null")
    assert outcome.books.drafts["accepted"] == 0 and outcome.books.drafts["rejected"] == 168
    with RunFolder.read(corpus) as folder:
        assert {one.reason for one in folder.examples("rejected")} == {"privacy/exact-copy"}


def test_rows_are_exported_with_the_weights_of_their_true_shares(tmp_path: Path) -> None:
    path = project(tmp_path, RECIPE + "  quotas: {ill: {'yes': 0.5, 'no': 0.5}}\n")
    corpus, _ = run(path)
    with RunFolder.read(corpus) as folder:
        for name in ("rows.csv", "rows.jsonl", "rows.parquet"):
            assert export(folder, tmp_path / name, "rows") == 40
        real = [row["ill"] for row in people(300)]
        ids = {one.id for one in folder.examples("accepted")}
    with (tmp_path / "rows.csv").open() as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["age", "pressure", "weight", "sex", "ill", "_example", "_weight"]
    assert {row["_example"] for row in found} == ids
    share = sum(float(row["_weight"]) for row in found if row["ill"] == "yes") / 40
    assert share == pytest.approx(real.count("yes") / 300, abs=1e-4)
    told = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert isinstance(told[0]["age"], int) and told[0]["_example"] in ids


def test_a_class_of_few_rows_keeps_the_direction_of_the_whole() -> None:
    rng = np.random.default_rng(4)
    rows: list[Record] = []
    for n in range(190):  # 160 of one class, 30 of another
        x = float(rng.standard_normal())
        wide = x + 0.3 * rng.standard_normal()
        rows.append(
            {"t": "a" if n < 160 else "b", "x": round(x, 3), "y": round(-x, 3), "c": "hi" if wide > 0 else "lo"}
        )
    for seed in range(5):
        drawn = [
            Classes(rows, {}, ["t", "x", "y", "c"]).of({"t": "b"}).record(Random(f"{seed}:{n}")) for n in range(200)
        ]
        means = [np.mean([float(row["x"]) for row in drawn if row["c"] == value]) for value in ("hi", "lo")]  # type: ignore[arg-type]
        assert means[0] - means[1] > 0.7


def test_a_hold_out_that_stands_in_the_sample_is_refused_and_single_twins_are_left_out(tmp_path: Path) -> None:
    path = project(tmp_path, RECIPE.replace("holdout: 0.3", "holdout: held.csv"))
    text = (tmp_path / "people.csv").read_text().splitlines()
    (tmp_path / "held.csv").write_text("\n".join(text[:61]) + "\n")
    with pytest.raises(SeedError, match="60 of 60 held-out rows stand in the sample"):
        run(path)
    (tmp_path / "people.csv").write_text("\n".join([text[0], *text[41:]]) + "\n")
    assert len(read_sample(loaded(path)).holdout) == 40


def test_rows_that_came_or_went_make_it_another_run(tmp_path: Path) -> None:
    path = project(tmp_path)
    run(path, None, "accept=5")
    text = (tmp_path / "people.csv").read_text().splitlines()
    (tmp_path / "people.csv").write_text("\n".join(text[:-3]) + "\n")
    with pytest.raises(RunFolderError, match="another recipe"):
        run(path)


def test_a_run_that_was_killed_before_it_was_measured_is_not_handed_on(tmp_path: Path) -> None:
    corpus, _ = run(project(tmp_path))
    check_private(corpus)
    run(tmp_path / "recipe.yaml", None, "accept=60")
    told = (corpus / "report.json").read_text()
    report = json.loads(told)
    (corpus / "report.json").write_text(json.dumps(report | {"digest": "of fewer rows"}))
    with pytest.raises(UserError, match="was not measured"):
        check_private(corpus)
    for name in ("report.json", "recipe.json"):
        (corpus / name).unlink()
    with pytest.raises(UserError, match="was not measured"):
        check_private(corpus)
    assert {file.relative_to(corpus).parts[0] for file in chosen(corpus, "dataset")} == {"data", "README.md"}


def test_what_real_rows_stand_in_stays_here_and_rows_whose_privacy_did_not_pass_as_well(tmp_path: Path) -> None:
    corpus, _ = run(project(tmp_path, RECIPE.replace("holdout: 0.3", "holdout: 0.0")))
    went = {file.relative_to(corpus).parts[0] for file in chosen(corpus, "dataset")}
    assert went == {"data", "README.md", "recipe.json", "report.json"}
    with pytest.raises(UserError, match="was not measured"):
        check_private(corpus)
    report = json.loads((corpus / "report.json").read_text())
    report["figures"]["table"]["privacy"]["passed"] = True
    (corpus / "report.json").write_text(json.dumps(report))
    check_private(corpus)
