"""`understudy rank`: from rows to a VM to a list of suspects, the whole way on a tiny base."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.graphs import run
from understudy.recipe_file import load_recipe
from understudy.training import train
from understudy.training.lineage import LINEAGE

RECIPE = """
name: shops
seeds: [{{path: shops.csv, kind: table}}]
accept: 12
sm: {{backend: scripted}}
dedup: {{minhash: null, embedder: hashing, embedding: null}}
rows:
  use_case: shops
  target: [shut]
  canaries: 0
  holdout: 0.2
  quotas: {{shut: {{"yes": 0.5, "no": 0.5}}}}
  base_rate: {{shut: {{"yes": 0.1, "no": 0.9}}}}
training: {{base: {base}, steps: 2, batch_size: 2}}
"""
Cells = list[dict[str, Any]]


def shops(count: int = 80) -> Cells:
    return [
        {"rank": ("low", "mid", "top")[n % 3], "staff": 3 + n * 7 % 41, "shut": "yes" if n % 8 == 0 else "no"}
        for n in range(count)
    ]


def table(path: Path, rows: Cells) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def vm(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VM of a few steps that learned from rows, with its corpus beside it."""
    home = tmp_path_factory.mktemp("rank")
    base = home / "base"
    shutil.copytree(tiny, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))  # for prompts in bytes
    table(home / "shops.csv", shops())
    (home / "recipe.yaml").write_text(RECIPE.format(base=base))
    assert run(load_recipe(home / "recipe.yaml"), home / "corpus").ended == "goal"
    train(home / "corpus", home / "vm")
    return home / "vm"


def test_a_list_has_every_row_once_the_likeliest_first(
    understudy: Callable[..., Any], tmp_path: Path, vm: Path
) -> None:
    rows = shops(10)
    data = table(tmp_path / "new.csv", rows)
    said = understudy("rank", vm, data, "--positive", "yes", "--top", 2, "--out", "list.csv")
    assert said.code == 0, said.err
    assert "10 rows; shut yes is taken to be true of 10.0%" in said.out
    assert "precision@2" in said.out and "Brier score" in said.out and "10 of 10 questions weighed" in said.err
    assert max(map(len, said.out.splitlines())) <= 80
    found = list(csv.DictReader((tmp_path / "list.csv").read_text().splitlines()))
    assert list(found[0]) == ["rank", "row", "probability", "reasons", "rank_", "staff", "shut"]
    assert [int(one["rank"]) for one in found] == list(range(1, 11))
    assert sorted(int(one["row"]) for one in found) == list(range(1, 11))
    chances = [float(one["probability"]) for one in found]
    assert chances == sorted(chances, reverse=True) and all(0 < chance < 1 for chance in chances)
    for one in found:
        row = rows[int(one["row"]) - 1]
        assert (one["rank_"], one["staff"], one["shut"]) == (row["rank"], str(row["staff"]), row["shut"])
    assert not any(one["reasons"] for one in found[2:])
    assert "The first" not in said.out


def test_what_is_not_shown_is_named(understudy: Callable[..., Any], tmp_path: Path, vm: Path) -> None:
    data = table(tmp_path / "new.csv", shops(12))
    said = understudy("rank", vm, data, "--positive", "yes", "--reasons", 0)
    assert said.code == 0 and "The first 10 of 12; `--out` writes all of them." in said.out


def test_rows_whose_answer_nobody_knows_are_ranked_alike(
    understudy: Callable[..., Any], tmp_path: Path, vm: Path
) -> None:
    rows = shops(10)
    known = table(tmp_path / "known.csv", rows)
    bare = table(tmp_path / "bare.csv", [{key: row[key] for key in ("rank", "staff")} for row in rows])
    some = table(tmp_path / "some.csv", [row | {"shut": "" if n else "yes"} for n, row in enumerate(rows)])
    lists = []
    for data in (known, bare, some):
        said = understudy("rank", vm, data, "--positive", "yes", "--reasons", 0, "--out", f"{data.stem}.jsonl")
        assert said.code == 0, said.err
        assert ("precision@" in said.out) is (data is known)
        assert ("where all targets are in the file" in " ".join(said.out.split())) is (data is not known)
        lines = (tmp_path / f"{data.stem}.jsonl").read_text().splitlines()
        lists.append([(one["row"], one["probability"]) for one in map(json.loads, lines)])
    assert lists[0] == lists[1] == lists[2] and len(lists[0]) == 10


def test_a_rarer_answer_is_less_likely_and_in_the_same_order(
    understudy: Callable[..., Any], tmp_path: Path, vm: Path
) -> None:
    data = table(tmp_path / "new.csv", shops(6))
    lists = []
    for rate in (0.5, 0.001):
        words = ("--base-rate", rate, "--reasons", 0, "--out", "list.jsonl")
        assert understudy("rank", vm, data, "--positive", "yes", *words).code == 0
        lists.append([json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()])
    assert [one["row"] for one in lists[0]] == [one["row"] for one in lists[1]]
    odds = [[one["probability"] / (1 - one["probability"]) for one in found] for found in lists]
    for often, rarely in zip(*odds, strict=True):
        assert often / rarely == pytest.approx(999, rel=0.01)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--positive", "yes", "--base-rate", "0"], "between 0 and 1, both excluded"),
        (["--positive", "yes", "--base-rate", "1"], "between 0 and 1, both excluded"),
        (["--positive", "yes", "--base-rate", "1.5"], "--base-rate 1.5"),
        (["--positive", "maybe"], "expected: no, yes"),
        (["--positive", "yes", "--out", "list.txt"], "expected: .csv or .jsonl"),
        (["--positive", "yes", "--out", "gone/list.csv"], "in a folder that is there"),
        (["--positive", "yes", "--out", "new.csv"], "holds the rows to rank"),
    ],
)
def test_mistakes_are_told_before_the_vm_is_loaded(
    understudy: Callable[..., Any], tmp_path: Path, vm: Path, words: list[str], said: str
) -> None:
    data = table(tmp_path / "new.csv", shops(6))
    before = data.read_bytes()
    result = understudy("rank", vm, data, *words)
    assert result.code == 2 and said in result.err and "weighed" not in result.err
    assert data.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["new.csv"]


def test_rows_that_do_not_fit_are_told_with_their_place(
    understudy: Callable[..., Any], tmp_path: Path, vm: Path
) -> None:
    odd = table(tmp_path / "odd.csv", [row | {"staff": "many"} for row in shops(3)])
    result = understudy("rank", vm, odd, "--positive", "yes")
    assert result.code == 2 and "odd.csv:2: staff is 'many', expected a whole number" in result.err
    lacking = table(tmp_path / "lacking.csv", [{"rank": "low", "shut": "no"}])
    result = understudy("rank", vm, lacking, "--positive", "yes")
    assert result.code == 2 and "lacking.csv: no column `staff`" in result.err
    (tmp_path / "none.csv").write_text("rank,staff,shut\n")
    result = understudy("rank", vm, tmp_path / "none.csv", "--positive", "yes")
    assert result.code == 2 and "none.csv: holds no rows" in result.err


def test_a_vm_that_learned_from_no_corpus_of_rows_cannot_rank(
    understudy: Callable[..., Any], tmp_path: Path, vm: Path
) -> None:
    data = table(tmp_path / "new.csv", shops(3))
    shutil.copytree(vm, tmp_path / "alone")
    lineage = json.loads((tmp_path / "alone" / LINEAGE).read_text())
    (tmp_path / "alone" / LINEAGE).write_text(json.dumps(lineage | {"corpus": None}))
    result = understudy("rank", "alone", data, "--positive", "yes")
    assert result.code == 2 and "learned from files alone" in result.err
    (tmp_path / "alone" / LINEAGE).write_text(json.dumps(lineage | {"corpus": str(tmp_path / "gone")}))
    result = understudy("rank", "alone", data, "--positive", "yes")
    assert result.code == 2 and "gone" in result.err
    assert understudy("rank", tmp_path, data, "--positive", "yes").code == 2
