"""Attributes of products, for real: is a VM that learned from synthetic rows better than one that saw the sample?

Forty product titles with their attributes are the seeds. The embedded SM writes new records and titles around them
(`record-to-text`); VMs learn from those, from the forty rows alone, and from both; all are scored on held-out titles,
beside the untuned model, which is also the SM prompted directly.

    python benchmarks/attributes.py --data DATA --work DIR [--on dev|test|more] [--accept 800] [--steps 150]

DATA is a folder with `products/oa-mine.train.jsonl` and `oa-mine.test.jsonl` (OA-Mine as ExtractGPT prepared it,
Apache-2.0), or the environment variable UNDERSTUDY_DATA. Choices are made with `--on dev`: 500 rows of the train file
that are neither among the forty nor in the test file; `--on more` takes others, on which no two ways were compared.
What is in DIR already is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from machine import hardware, markdown

from understudy.agents import load_catalog
from understudy.recipe import Cast

PER_CATEGORY = 4
DEV = 500
# Of each category, by which the first choices were made.
FIRST_PER_CATEGORY = 15
Row = dict[str, str]


def main() -> None:
    """Make what is missing in the work folder, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("UNDERSTUDY_DATA"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--on", choices=("dev", "test", "more"), default="dev")
    parser.add_argument("--accept", type=int, default=800, help="synthetic rows to write")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    given = parser.parse_args()
    products = Path(given.data or "") / "products"
    if not (products / "oa-mine.train.jsonl").is_file():
        parser.error("no products/oa-mine.train.jsonl: give --data, or set UNDERSTUDY_DATA")
    given.work.mkdir(parents=True, exist_ok=True)
    prepare(products, given.work, given)
    corpus = given.work / "corpus"
    if not (corpus / "report.json").is_file():
        understudy("run", given.work / "recipe.yaml", "--out", corpus)
    arms = {"sample": ["--data", given.work / "real.jsonl"], "synthetic": [], "both": [
        "--data", "corpus", "--data", given.work / "real.jsonl"]}  # fmt: skip
    for name, data in arms.items():
        if not (given.work / name).is_dir():
            understudy(
                "train", corpus, "--out", given.work / name, *data, "--steps", given.steps, "--set",
                f"batch_size={given.batch}", "--set", f"learning_rate={given.rate}",
            )  # fmt: skip
    understudy(
        "eval", given.work / "synthetic", "--on", given.work / f"{given.on}.yaml", "--against", given.work / "sample",
        "--against", given.work / "both",
    )  # fmt: skip
    found = json.loads((given.work / "synthetic" / f"eval-{given.on}.json").read_text())
    print(markdown(("", "micro-F1", "95 % interval"), table(found)))
    if given.out:
        told = {"machine": hardware("torch", "transformers", "trl", "peft"), "figures": found["systems"]}
        given.out.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def table(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """One line for each system that was measured."""
    return [
        (name, f"{f1['mean']:.3f}", f"{f1['low']:.3f} to {f1['high']:.3f}")
        for name, f1 in ((name, one["values"]["f1"]) for name, one in found["systems"].items())
    ]


def understudy(*words: object) -> None:
    """Run a command of Understudy, as a user would."""
    command = [str(Path(sys.executable).with_name("understudy")), *map(str, words)]
    print("$", " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True)  # noqa: S603


def prepare(products: Path, work: Path, given: argparse.Namespace) -> None:
    """The sample as seeds and as training rows, dev and test rows as conversations, the tasks and the recipe."""
    every = {split: rows_of(products / f"oa-mine.{split}.jsonl") for split in ("train", "test")}
    sample, first = split(every["train"])
    others = unused(every["train"], (*sample, *every["test"]))
    random.Random(0).shuffle(others)  # noqa: S311
    dev, more = others[:DEV], unused(others[DEV:], first)
    write(work / "sample.jsonl", sample)
    for name, rows in (("real", sample), ("dev", dev), ("test", every["test"]), ("more", more)):
        write(work / f"{name}.jsonl", [conversation(row) for row in rows])
    for name in ("dev", "test", "more"):
        (work / f"{name}.yaml").write_text(f"name: {name}\ndata: {name}.jsonl\nmeasure: fields\nmax_new_tokens: 120\n")
    (work / "recipe.yaml").write_text(
        f"""name: product attributes
seeds: [{{path: sample.jsonl, kind: table, rows_per_seed: {PER_CATEGORY}, license: Apache-2.0}}]
accept: {given.accept}
sm: {{batch_size: 48}}
voices: {{instruct: {{temperature: 0.7}}}}
draws_per_seed: 1000
agents: {{persona: [], transform: [], instruct: [record-to-text], refine: [], judge: []}}
personas: {{set: null}}
inverted:
  text: title
  given: [category]
  names: [Brand, Model name]
  kept: {{names: 0.2, numbers: 0.3, words: 0.8}}
verify: {{min_grounding: null}}
dedup: {{embedding: null}}
test_share: 0
"""
    )


def rows_of(path: Path) -> list[Row]:
    """Rows as `category`, `title` and their attributes."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        attributes = {name: next(iter(values)) for name, values in row["target_scores"].items()}
        rows.append({"category": row["category"], "title": row["input"], **attributes})
    return rows


def split(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Four rows of each category as the sample, and fifteen others by which the first choices were made."""
    sample: list[Row] = []
    first: list[Row] = []
    draw = random.Random(0)  # noqa: S311
    for category in sorted({row["category"] for row in rows}):
        here = [row for row in rows if row["category"] == category]
        draw.shuffle(here)
        sample += here[:PER_CATEGORY]
        seen = {row["title"] for row in here[:PER_CATEGORY]}
        first += [row for row in here[PER_CATEGORY:] if row["title"] not in seen][:FIRST_PER_CATEGORY]
    return sample, first


def unused(rows: list[Row], others: Sequence[Row]) -> list[Row]:
    """Rows whose titles are none of the others', each title once: to look once more without having chosen by them."""
    seen, found = {row["title"] for row in others}, []
    for row in rows:
        if row["title"] not in seen:
            seen.add(row["title"])
            found.append(row)
    return found


def conversation(row: Row) -> dict[str, Any]:
    """A row as it is asked, in the words of the agent that writes the synthetic ones."""
    (agent,) = load_catalog(Cast(instruct=("record-to-text",))).agents["instruct"]
    category, title = row["category"], row["title"]
    asked = agent.prompt.asked(text=title, given={"category": category})
    record = {name: value for name, value in row.items() if name not in {"category", "title"}}
    record = dict(sorted(record.items(), key=lambda item: title.find(item[1])))
    return {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": json.dumps(record, ensure_ascii=False)},
        ]
    }


def write(path: Path, rows: list[Any]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
