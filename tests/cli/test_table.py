"""`understudy table compare`: any synthetic table, in the terminal, as JSON and as a page."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.evals.table_figures import table_figures
from understudy.privacy import Privacy, Trend
from understudy.traces import table_page

Rows = list[dict[str, Any]]


def people(n: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    rows = []
    for z in random.multivariate_normal(np.zeros(4), np.full((4, 4), 0.5) + 0.5 * np.eye(4), n):
        age, pressure, pulse = round(50 + 15 * z[0]), round(130 + 17 * z[1], 1), round(75 + 12 * z[2], 1)
        rows.append({"age": age, "pressure": pressure, "pulse": pulse, "ill": "yes" if z[3] > 0.5 else "no"})
    return rows


def written(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    sample = people(120, 1)
    random = np.random.default_rng(0)
    copies = [{**sample[int(k)], "pulse": sample[int(k)]["pulse"] + 0.1} for k in random.integers(0, 120, 200)]
    made = {"sample": sample, "holdout": people(200, 2), "fresh": people(200, 3), "copies": copies}
    return {name: written(tmp_path / f"{name}.csv", rows) for name, rows in made.items()}


def test_a_fresh_table_passes_and_its_screen_fits_80_columns(
    understudy: Callable[..., Any], files: dict[str, Path]
) -> None:
    said = understudy(
        "table",
        "compare",
        files["fresh"],
        "--sample",
        files["sample"],
        "--holdout",
        files["holdout"],
        "--target",
        "ill",
    )
    assert said.code == 0, said.err
    places = [said.out.index(part) for part in ("Privacy: passed", "Trend: passed", "Trained on synthetic rows")]
    assert places == sorted(places) and "ill, random forest, macro-F1" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_a_copied_table_fails_with_1_and_says_why(
    understudy: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    said = understudy(
        "table", "compare", files["copies"], "--sample", files["sample"], "--holdout", files["holdout"], "--page", page
    )
    assert said.code == 1 and "Privacy: failed" in said.out and not said.err
    assert "of the rows are within" in " ".join(said.out.split())
    text = page.read_text()
    assert (
        "copies.csv" in text
        and text.count("<svg") == 7
        and "<script" not in text
        and "http:" not in text
        and "https:" not in text
    )


def test_json_has_every_figure(understudy: Callable[..., Any], files: dict[str, Path]) -> None:
    said = understudy("table", "compare", files["copies"], "--sample", files["sample"], "--json")
    told = json.loads(said.out)
    assert said.code == 1 and told["rows"] == {"synthetic": 200, "sample": 120, "holdout": 0, "unfit": 0, "alike": None}
    names = {one["name"]: one["passed"] for one in told["privacy"]["findings"]}
    assert names["attack-auc"] is None and names["hit-rate"] is False and not told["useful"]["scores"]


def test_another_tools_way_to_write_numbers_changes_nothing(
    understudy: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    floats = written(tmp_path / "floats.csv", [{**row, "age": f"{row['age']}.0"} for row in people(200, 3)])
    plain, other = (
        json.loads(understudy("table", "compare", file, "--sample", files["sample"], "--json").out)
        for file in (files["fresh"], floats)
    )
    assert plain == other


def test_rows_that_do_not_fit_a_schema_are_left_out_and_counted(
    understudy: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    schema = tmp_path / "schema.yaml"
    schema.write_text(
        "columns:\n  age: {type: integer, low: 0, high: 120, identifying: true}\n  pressure: {type: number, decimals: 1}\n"
        "  pulse: {type: number, decimals: 1}\n  ill: {type: category, categories: ['no', 'yes'], role: target}\n"
    )
    odd = [*people(100, 3), {"age": 400, "pressure": 1.0, "pulse": 1.0, "ill": "no"}]
    odd += [{"age": 4, "pressure": 1.0, "pulse": 1.0, "ill": "\x1b[31mmaybe"}]
    made = written(tmp_path / "odd.csv", odd)
    said = understudy("table", "compare", made, "--sample", files["sample"], "--schema", schema)
    assert "2 rows do not fit the schema" in said.out and "age is 400" in said.out and "\x1b" not in said.out
    assert "100 synthetic rows" in said.out


def test_what_cannot_be_compared_is_said_with_2(
    understudy: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    sample = ("--sample", files["sample"])
    missing = understudy("table", "compare", tmp_path / "none.csv", *sample)
    assert missing.code == 2 and "no such table" in missing.err
    narrow = written(tmp_path / "narrow.csv", [{"age": 1, "pressure": 2}])
    assert "no column `pulse`" in understudy("table", "compare", narrow, *sample).err
    target = understudy("table", "compare", files["fresh"], *sample, "--target", "mood")
    assert target.code == 2 and "mood" in target.err
    finds = understudy("table", "compare", files["fresh"], *sample, "--identifying", "shoe")
    assert finds.code == 2 and "no column `shoe`" in finds.err
    both = understudy("table", "compare", files["fresh"], *sample, "--target", "ill", "--schema", tmp_path / "s.yaml")
    assert both.code == 2 and "say it in the schema" in both.err
    page = understudy("table", "compare", files["fresh"], *sample, "--page", tmp_path / "page.txt")
    assert page.code == 2 and ".html" in page.err
    (tmp_path / "empty.csv").write_text("age,pressure,pulse,ill\n")
    empty = understudy("table", "compare", tmp_path / "empty.csv", *sample)
    assert empty.code == 2 and "holds no rows" in empty.err


def hostile() -> dict[str, Any]:
    from understudy.columns import Column, Schema

    evil = "<script>alert(1)</script>"
    schema: Schema = {
        evil: Column(type="number", decimals=1), "items": Column(type="number", decimals=1),
        "kind": Column(type="category", categories=("\"><img src=x onerror=alert(1)>", "b"), role="target"),
    }  # fmt: skip
    random = np.random.default_rng(0)

    def draw(n: int) -> Rows:
        kinds = schema["kind"].categories
        return [
            {evil: float(random.normal()), "items": float(random.normal()), "kind": kinds[int(random.integers(2))]}
            for _ in range(n)
        ]

    return table_figures(draw(40), draw(30), draw(30), schema, Privacy(), Trend(rounds=50))


def test_names_and_categories_of_strangers_are_escaped_on_the_page() -> None:
    text = table_page.page(hostile(), "a </title><script>alert(2)</script>")
    assert "<script" not in text and "<img" not in text and "&lt;script&gt;" in text


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium, such as Debian's package of that name")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_phone_shows_the_page_without_scrolling_sideways(tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    path = tmp_path / "page.html"
    table_page.write(path, hostile(), "patients")
    with sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, bypass_csp=True)
            page = context.new_page()
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            found = Axe().run(page).response["violations"]
            assert not found, [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found]
        chromium.close()


def test_rows_as_they_are_exported_can_be_held_against_their_sample(
    understudy: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    exported = [row | {"_example": f"id{n}", "_weight": "0.5"} for n, row in enumerate(people(200, 3))]
    words = ("--sample", files["sample"], "--holdout", files["holdout"], "--target", "ill", "--json")
    ours = understudy("table", "compare", written(tmp_path / "exported.csv", exported), *words)
    plain = understudy("table", "compare", files["fresh"], *words)
    assert ours.code == 0 and ours.out == plain.out, ours.err


def test_a_page_that_cannot_be_written_is_told_before_anything_is_read(
    understudy: Callable[..., Any], files: dict[str, Path]
) -> None:
    files["sample"].write_text("not a table of people\n")
    said = understudy("table", "compare", files["fresh"], "--sample", files["sample"], "--page", "gone/page.html")
    assert said.code == 2 and "gone: no such folder" in said.err and not said.out


def test_likeness_of_a_table_with_weights_is_measured_of_rows_drawn_by_them(
    understudy: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    rows = [row for seed in range(4, 12) for row in people(200, seed)]
    ill = [row for row in rows if row["ill"] == "yes"][:300]
    well = [row for row in rows if row["ill"] == "no"][:300]
    share = sum(row["ill"] == "yes" for row in people(5000, 3)) / 5000
    halves = [row | {"_weight": 2 * share} for row in ill] + [row | {"_weight": 2 - 2 * share} for row in well]
    written(tmp_path / "halves.csv", halves)
    written(tmp_path / "plain.csv", [{name: row[name] for name in row if name != "_weight"} for row in halves])

    def compared(name: str) -> Any:
        against = ("--sample", files["sample"], "--holdout", files["holdout"], "--target", "ill", "--json")
        return json.loads(understudy("table", "compare", tmp_path / name, *against).out)

    weighed, plain = compared("halves.csv"), compared("plain.csv")
    assert (
        weighed["rows"]["synthetic"] == 600 and 300 < weighed["rows"]["alike"] < 600 and plain["rows"]["alike"] is None
    )
    off = [next(one for one in said["fidelity"]["columns"] if one["name"] == "ill") for said in (weighed, plain)]
    assert off[0]["value"] < 0.1 < off[1]["value"]
    told = understudy("table", "compare", tmp_path / "halves.csv", "--sample", files["sample"]).out
    assert f"{weighed['rows']['alike']} of them, drawn by their weights" in " ".join(told.split())

    written(tmp_path / "bad.csv", [row | {"_weight": "-1" if n == 3 else 1} for n, row in enumerate(ill)])
    said = understudy("table", "compare", tmp_path / "bad.csv", "--sample", files["sample"])
    assert said.code == 2 and "bad.csv:5: _weight is '-1'" in said.err
