"""`understudy table schema` and `understudy table questions`: a schema to be edited, and real rows to ask a VM of."""

import asyncio
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus.table_schema import read_schema
from understudy.graphs import generate
from understudy.recipe_file import load_recipe

RECIPE = """
name: shops
seeds: [{path: shops.csv, kind: table}]
accept: 4
sm: {backend: scripted}
rows: {use_case: shops and their books, target: [closed], canaries: 0, holdout: 0.2}
"""
Cells = list[dict[str, Any]]


def shops(count: int = 60) -> Cells:
    return [
        {
            "town": ("Ulm", "Köln", "Bern")[n % 3],
            "staff": 3 + n * 7 % 41,
            "margin": f"{(n * 37 % 200) / 10 - 5:.1f}",
            "closed": "yes" if n % 4 == 0 else "no",
        }
        for n in range(count)
    ]


def table(path: Path, rows: Cells, **how: Any) -> Path:
    with path.open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        writer = csv.DictWriter(file, list(rows[0]), **how)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shops")
    table(home / "shops.csv", shops())
    (home / "recipe.yaml").write_text(RECIPE)
    asyncio.run(generate(load_recipe(home / "recipe.yaml"), home / "corpus"))
    return home / "corpus"


def test_a_schema_is_printed_as_yaml_that_can_be_read_back(understudy: Callable[..., Any], tmp_path: Path) -> None:
    data = table(tmp_path / "shops.csv", shops())
    said = understudy("table", "schema", data, "--target", "closed")
    assert said.code == 0 and not said.err
    (tmp_path / "s.yaml").write_text(said.out)
    schema = read_schema(tmp_path / "s.yaml")
    assert schema["closed"].role == "target" and schema["town"].identifying
    assert schema["staff"].type == "integer" and "low: 3\n" in said.out and "3.0" not in said.out


def test_a_schema_is_written_with_what_to_look_at_and_never_over_another(
    understudy: Callable[..., Any], tmp_path: Path
) -> None:
    data = table(tmp_path / "shops.csv", shops())
    said = understudy("table", "schema", data, "--target", "closed", "--out", "s.yaml")
    assert said.code == 0 and "columns: s.yaml" in said.out and "-5 to 14.9" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    edited = (tmp_path / "s.yaml").read_text().replace("low: 3\n", "low: 1\n")
    (tmp_path / "s.yaml").write_text(edited)
    again = understudy("table", "schema", data, "--out", "s.yaml")
    assert again.code == 2 and "is there already" in again.err and (tmp_path / "s.yaml").read_text() == edited
    nowhere = understudy("table", "schema", data, "--out", "gone/s.yaml")
    assert nowhere.code == 2 and "no such folder" in nowhere.err


@pytest.mark.parametrize("how", [{"encoding": "utf-8-sig"}, {"lineterminator": "\r\n"}, {"quoting": csv.QUOTE_ALL}])
def test_the_same_table_from_other_hands_has_the_same_schema(
    understudy: Callable[..., Any], tmp_path: Path, how: dict[str, Any]
) -> None:
    plain = understudy("table", "schema", table(tmp_path / "plain.csv", shops())).out
    assert understudy("table", "schema", table(tmp_path / "other.csv", shops(), **how)).out == plain
    assert "- Köln" in plain


def test_columns_of_a_file_without_a_header_are_named(understudy: Callable[..., Any], tmp_path: Path) -> None:
    data = table(tmp_path / "shops.csv", shops())
    data.write_text(data.read_text().partition("\n")[2])
    said = understudy("table", "schema", data, "--columns", "place, people, gain, shut", "--target", "shut")
    assert said.code == 0 and "  people:\n    type: integer" in said.out
    few = understudy("table", "schema", data, "--columns", "place,people")
    assert few.code == 2 and "row has 4 fields, the header has 2" in few.err


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("a,b\n1,2\n", ["--target", "c"], "no column `c`"),
        ("", [], "data.csv: holds no rows"),
        ("a,b\n", [], "data.csv: holds no rows"),
        ("a;b\n1;2\n", ["--target", "b"], "with tabs as .tsv"),
        ("a,b\n" + "x|y,2\n" * 9, [], "`x|y` in column `a`"),
    ],
)
def test_a_table_that_has_no_schema_is_refused_with_a_reason(
    understudy: Callable[..., Any], tmp_path: Path, text: str, words: list[str], said: str
) -> None:
    (tmp_path / "data.csv").write_text(text)
    result = understudy("table", "schema", "data.csv", "--out", "s.yaml", *words)
    assert result.code == 2 and said in result.err and not (tmp_path / "s.yaml").exists()


@pytest.mark.parametrize("name", ["gone.csv", "notes.txt", "."])
def test_what_is_no_table_is_refused(understudy: Callable[..., Any], tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("a,b\n1,2\n")
    result = understudy("table", "schema", name)
    assert result.code == 2 and "no such table" in result.err and ".parquet" in result.err


def test_cells_that_were_taken_for_text_and_too_few_rows_are_pointed_out(
    understudy: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [
        row | {"since": f"{1990 + n % 30}-0{1 + n % 9}-1{n % 7}", "sales": f"{n + 1},{n * 13 % 900 + 100:03d}", "tax": f"{n}.5%",
               "note": f"words of shop {n}"}
        for n, row in enumerate(shops())
    ]  # fmt: skip
    said = understudy("table", "schema", table(tmp_path / "shops.csv", rows), "--out", "s.yaml")
    told = " ".join(said.out.split())
    assert "since: dates, such as 1990-01-10, are taken for free text" in told
    assert "sales: numbers with marks, such as 1,100," in told and "tax: numbers with marks, such as 0.5%" in told
    assert "note:" not in told and "no target" in told and "too few" not in told
    few = understudy("table", "schema", table(tmp_path / "few.csv", shops(1)), "--target", "closed")
    assert few.code == 0 and few.err == "1 row: too few to infer from, and a run needs at least 20\n"


def test_a_hostile_cell_does_not_reach_the_terminal(understudy: Callable[..., Any], tmp_path: Path) -> None:
    rows = [row | {"closed": "\x1b[2Jyes" if row["closed"] == "yes" else "[red]no"} for row in shops()]
    said = understudy("table", "schema", table(tmp_path / "shops.csv", rows), "--out", "s.yaml")
    assert said.code == 0 and "\x1b" not in said.out and "\\x1b[2Jyes" in said.out and "[red]no" in said.out


def test_questions_ask_for_the_class_and_hide_it(understudy: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    rows = shops(8)
    data = table(tmp_path / "more.csv", rows)
    said = understudy("table", "questions", corpus, data, "--out", "asked.jsonl")
    assert said.code == 0 and "8 rows in asked.jsonl" in said.out and "understudy eval VM --on asked.yaml" in said.out
    asked = [json.loads(line)["messages"] for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    assert [turns[1]["content"] for turns in asked] == [row["closed"] for row in rows]
    assert asked[1][0]["content"] == "shops and their books\ntown: Köln\nstaff: 10\nmargin: -1.3\nWhat is closed?"
    task = (tmp_path / "asked.yaml").read_text()
    assert 'measure: "classes"' in task and 'choices: ["no", "yes"]' in task and "positive" not in task


def test_questions_of_a_ranking_say_what_is_looked_for(
    understudy: Callable[..., Any], tmp_path: Path, corpus: Path
) -> None:
    data = table(tmp_path / "more.csv", shops(8))
    said = understudy("table", "questions", corpus, data, "--out", "asked.jsonl", "--positive", "yes", "--k", 20)
    task = (tmp_path / "asked.yaml").read_text()
    assert said.code == 0 and 'measure: "ranking"' in task and 'positive: "yes"' in task and "k: 8" in task
    wrong = understudy("table", "questions", corpus, data, "--out", "other.jsonl", "--positive", "Yes")
    assert wrong.code == 2 and "expected: one of: no, yes" in wrong.err and not (tmp_path / "other.jsonl").exists()


def test_questions_are_written_over_no_other_file(understudy: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    data = table(tmp_path / "more.csv", shops(8))
    (tmp_path / "more.yaml").write_text("name: a recipe\n")
    said = understudy("table", "questions", corpus, data, "--out", "more.jsonl")
    assert said.code == 2 and "more.yaml: is there already" in said.err
    assert (tmp_path / "more.yaml").read_text() == "name: a recipe\n" and not (tmp_path / "more.jsonl").exists()
    for _ in range(2):  # the same again is no loss
        assert understudy("table", "questions", corpus, data, "--out", "asked.jsonl").code == 0


def test_questions_need_a_corpus_of_rows_and_rows_with_targets(
    understudy: Callable[..., Any], tmp_path: Path, corpus: Path, project: Path
) -> None:
    data = table(tmp_path / "more.csv", shops(8))
    texts = understudy("table", "questions", project / "recipe.yaml", data, "--out", "asked.jsonl")
    assert texts.code == 2 and "makes no rows" in texts.err
    bare = table(tmp_path / "bare.csv", [{key: row[key] for key in row if key != "closed"} for row in shops(8)])
    lacking = understudy("table", "questions", corpus, bare, "--out", "asked.jsonl")
    assert lacking.code == 2 and "bare.csv: no column `closed`" in lacking.err
    odd = table(tmp_path / "odd.csv", [row | {"town": "Rom", "staff": 4000, "closed": "maybe"} for row in shops(8)])
    unknown = understudy("table", "questions", corpus, odd, "--out", "asked.jsonl")
    assert unknown.code == 2 and "odd.csv:2: closed is 'maybe', expected one of: no, yes" in unknown.err
    nowhere = understudy("table", "questions", corpus, data, "--out", "asked.csv")
    assert nowhere.code == 2 and ".jsonl file" in nowhere.err
    assert not list(tmp_path.glob("asked.*"))
    recipe = understudy("table", "questions", corpus.parent / "recipe.yaml", data, "--out", "asked.jsonl")
    assert recipe.code == 0  # before a corpus is there
