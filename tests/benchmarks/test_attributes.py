"""What the benchmark of attributes shows to whom, and how it tells it."""

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "attributes.py"


@pytest.fixture(scope="module")
def attributes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("attributes", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> list[dict[str, str]]:
    made = []
    for category in ("Tea", "Shoes"):
        for n in range(25):
            made.append(
                {"category": category, "title": f"Maker{n} {category} {n} oz", "brand": f"Maker{n}", "size": f"{n} oz"}
            )
    return made


def test_sample_and_dev_rows_are_of_every_category_and_share_no_title(attributes: ModuleType) -> None:
    sample, dev = attributes.split([*rows(), *rows()])  # every title twice
    assert [row["category"] for row in sample] == ["Shoes"] * 4 + ["Tea"] * 4
    assert len(dev) == 30 and not {row["title"] for row in sample} & {row["title"] for row in dev}


def test_the_rows_that_nobody_has_seen_share_no_title_with_those_that_somebody_has(attributes: ModuleType) -> None:
    every = [*rows(), *rows()]
    sample, dev = attributes.split(every)
    test = [row for row in rows() if row["title"].startswith("Maker24")]
    more = attributes.unused(every, (*sample, *dev, *test))
    titles = [row["title"] for row in more]
    seen = {row["title"] for row in (*sample, *dev, *test)}
    assert len(set(titles)) == len(titles) == 50 - len(seen) and not seen & set(titles)


def test_rows_to_choose_by_test_rows_and_rows_for_nothing_are_kept_apart(
    attributes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributes, "DEV", 6)
    for split, made in (("train", rows()), ("test", [row for row in rows() if row["title"].startswith("Maker2")])):
        told = [
            {
                "category": row["category"],
                "input": row["title"],
                "target_scores": {name: {row[name]: 1} for name in ("brand", "size")},
            }
            for row in made
        ]
        attributes.write(tmp_path / f"oa-mine.{split}.jsonl", told)
    attributes.prepare(tmp_path, tmp_path, argparse.Namespace(accept=5))
    asked = {
        name: {
            json.loads(line)["messages"][0]["content"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()
        }
        for name in ("real", "dev", "test", "more")
    }
    assert len(asked["real"]) == 8 and len(asked["dev"]) == 6 and len(asked["test"]) == 12 and asked["more"]
    assert sum(map(len, asked.values())) == len(set().union(*asked.values())) + len(asked["real"] & asked["test"])


def test_a_row_is_asked_as_the_agent_asks_and_answered_in_the_order_of_its_title(attributes: ModuleType) -> None:
    asked, answered = (turn["content"] for turn in attributes.conversation(rows()[3])["messages"])
    assert asked == "category: Tea\nText: Maker3 Tea 3 oz\nGive the fields as JSON."
    assert list(json.loads(answered).items()) == [("brand", "Maker3"), ("size", "3 oz")]


def test_figures_are_told_as_eval_writes_them(attributes: ModuleType) -> None:
    f1 = {"mean": 0.35046, "low": 0.31431, "high": 0.38782, "n": 150}
    assert attributes.table({"systems": {"sample": {"values": {"f1": f1}}}}) == [("sample", "0.350", "0.314 to 0.388")]
