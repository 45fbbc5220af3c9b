"""Tables, for real: new patients from the heart records, suspicious companies from a declared copula, beside SDV.

Each use case takes a sample of real rows and a hold-out that nobody is shown, has an SM write new rows (`rows:`),
measures privacy, fidelity and usefulness, trains a VM on the new rows and another on the sample, and asks both about
the hold-out. Gaussian copula and CTGAN of SDV are measured by the same code.

    python benchmarks/tables.py heart --data DATA --work DIR [--sm FOLDER] [--sdv PYTHON]
    python benchmarks/tables.py fraud --work DIR [--sm FOLDER] [--sdv PYTHON]

DATA is a folder with `medical/heart-cleveland.csv` (UCI Heart Disease, CC BY 4.0), or the environment variable
UNDERSTUDY_DATA. --sm is a folder that `understudy sm` trained; without it the embedded SM is taken as it is. --sdv is
the Python of an environment of its own that SDV is installed in (Business Source License; no part of Understudy).
What is in DIR already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from machine import hardware, markdown

from understudy.columns import Record
from understudy.corpus.table_sample import read_sample, resolved
from understudy.recipe_file import load_recipe

Row = dict[str, Any]
HEART = (
    "age", "sex", "chest_pain", "resting_bp", "cholesterol", "high_sugar", "ecg", "max_heart_rate", "exercise_angina",
    "oldpeak", "slope", "vessels", "thal", "disease",
)  # fmt: skip
MEANING = {
    "sex": {"0": "female", "1": "male"},
    "chest_pain": {"1": "typical angina", "2": "atypical angina", "3": "other pain", "4": "none"},
    "high_sugar": {"0": "no", "1": "yes"},
    "ecg": {"0": "normal", "1": "ST-T wave", "2": "hypertrophy"},
    "exercise_angina": {"0": "no", "1": "yes"},
    "slope": {"1": "up", "2": "flat", "3": "down"},
    "thal": {"3": "normal", "6": "fixed", "7": "reversible"},
}
RECIPES = {
    "heart": """name: heart
seeds: [{{path: heart.csv, kind: table, license: CC-BY-4.0}}]
accept: {accept}
sm: {sm}
draws_per_seed: 100
rows:
  use_case: patients examined for heart disease
  target: [disease]
  question: "Does this patient have heart disease? Answer yes or no."
  holdout: 0.34
  shown: 6
  sketch: {sketch}
  quotas: {{disease: {{"yes": 0.5, "no": 0.5}}}}
license: CC-BY-4.0
""",
    "fraud": """name: companies
seeds: [{{path: companies.csv, kind: table, license: CC0-1.0}}]
accept: {accept}
sm: {sm}
draws_per_seed: 100
rows:
  use_case: companies and their accounts
  target: [fraud]
  question: "Are the accounts of this company fraudulent? Answer yes or no."
  holdout: companies-held-out.csv
  shown: 6
  sketch: {sketch}
  quotas: {{fraud: {{"yes": 0.5, "no": 0.5}}}}
  base_rate: {{fraud: {{"yes": 0.02, "no": 0.98}}}}
""",
}


def main() -> None:
    """Make what is missing in the work folder, measure, print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("case", choices=("heart", "fraud"))
    parser.add_argument("--data", type=Path, default=os.environ.get("UNDERSTUDY_DATA"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sm", type=Path, help="an SM that `understudy sm` trained")
    parser.add_argument("--sdv", type=Path, help="the Python of an environment with SDV")
    parser.add_argument("--accept", type=int, default=400, help="rows to write")
    parser.add_argument("--sketch", type=float, default=0.5, help="share of columns that the sketch speaks of")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    prepare(given, parser)
    recipe = given.work / "recipe.yaml"
    corpus = given.work / "corpus"
    if not (corpus / "report.json").is_file():
        understudy("run", recipe, "--out", corpus, "--yes")
    tables(given.work)
    schema = given.work / "schema.yaml"
    if given.sdv:
        for model in ("copula", "ctgan"):
            if not (given.work / f"{model}.csv").is_file():
                baseline(given.sdv, model, given.work, given.accept)
    files = {"understudy": given.work / "understudy.csv"} | {
        f"SDV {model}": given.work / f"{model}.csv" for model in ("copula", "ctgan")
    }
    found = {}
    for name, file in files.items():
        if file.is_file():
            said = understudy_json(
                "table", "compare", file, "--sample", given.work / "sample.csv",
                "--holdout", given.work / "held-out.csv", "--schema", schema,
                "--page", file.with_suffix(".html"), "--json",
            )  # fmt: skip
            found[name] = said
    print(markdown(("", *found), list(lines(found))))
    asked = given.work / "held-out.jsonl"
    positive = ("--positive", "yes", "--k", 20) if given.case == "fraud" else ()
    for file, source, more in ((asked, "held-out.csv", positive), (given.work / "real.jsonl", "sample.csv", ())):
        if not file.is_file():
            understudy("table", "questions", corpus, given.work / source, "--out", file, *more)
    for name, data in (("vm", ()), ("vm-real", ("--data", given.work / "real.jsonl"))):
        if not (given.work / name).is_dir():
            understudy(
                "train", corpus, "--out", given.work / name, *data, "--steps", given.steps, "--set", "batch_size=8",
                "--set", "learning_rate=0.0005",
            )  # fmt: skip
    understudy("eval", given.work / "vm", "--on", asked.with_suffix(".yaml"), "--against", given.work / "vm-real")
    if given.case == "fraud":
        understudy(
            "rank", given.work / "vm", given.work / "held-out.csv", "--positive", "yes", "--top", 20, "--out",
            given.work / "suspects.csv",
        )  # fmt: skip
    if given.out:
        said = json.loads((given.work / "vm" / "eval-held-out.json").read_text())
        told = {"machine": hardware("torch", "transformers", "trl", "peft"), "tables": found, "vm": said["systems"]}
        given.out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def prepare(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """The real rows and the recipe."""
    if given.case == "heart":
        source = Path(given.data or "") / "medical" / "heart-cleveland.csv"
        if not source.is_file():
            parser.error("no medical/heart-cleveland.csv: give --data, or set UNDERSTUDY_DATA")
        write(given.work / "heart.csv", heart(source))
    else:
        write(given.work / "companies.csv", companies(800, 0))
        write(given.work / "companies-held-out.csv", companies(1000, 1))
    path = f"{{backend: transformers, path: {given.sm.resolve()}, batch_size: 48}}" if given.sm else "{batch_size: 48}"
    text = RECIPES[given.case].format(accept=given.accept, sm=path, sketch=given.sketch)
    (given.work / "recipe.yaml").write_text(text)


def heart(source: Path) -> list[Row]:
    """The Cleveland records with words for codes; diagnosis 1 to 4 is `yes`."""
    rows = []
    for cells in csv.reader(source.read_text().splitlines()):
        row: Row = {}
        for name, cell in zip(HEART, cells, strict=True):
            text = "" if cell.strip() == "?" else f"{float(cell):g}"
            row[name] = MEANING.get(name, {}).get(text, text)
        rows.append(row | {"disease": "no" if row["disease"] == "0" else "yes"})
    return rows


NAMES = ("staff", "revenue", "margin", "debt_ratio", "cash_ratio", "related_sales")
CORRELATION = np.array([
    [1.0, 0.8, 0.1, 0.2, -0.1, 0.1],
    [0.8, 1.0, 0.2, 0.1, 0.0, 0.1],
    [0.1, 0.2, 1.0, -0.4, 0.4, 0.0],
    [0.2, 0.1, -0.4, 1.0, -0.5, 0.2],
    [-0.1, 0.0, 0.4, -0.5, 1.0, -0.1],
    [0.1, 0.1, 0.0, 0.2, -0.1, 1.0],
])  # fmt: skip


def companies(count: int, seed: int) -> list[Row]:
    """Companies from a Gaussian copula with this correlation, and a known mechanism of fraud, true of 2 in 100.

    The log-odds of fraud are a sum: much business with related parties, little cash for the margin that is told, late
    filings and a change of auditor.
    """
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((count, len(NAMES))) @ np.linalg.cholesky(CORRELATION).T
    staff, revenue, margin, debt, cash, related = scores.T
    late = rng.poisson(0.4, count)
    auditor = rng.random(count) < 0.12
    odds = -6.3 + 1.5 * related + 1.0 * (margin - cash) + 0.9 * late + 1.6 * auditor
    fraud = rng.random(count) < 1 / (1 + np.exp(-odds))
    sector = rng.choice(["retail", "building", "software", "transport"], count)
    return [
        {
            "sector": str(sector[n]), "staff": int(np.exp(3.5 + 1.1 * staff[n])) + 1,
            "revenue_thousands": int(np.exp(8 + 1.2 * revenue[n])), "margin_percent": f"{6 + 5 * margin[n]:.1f}",
            "debt_ratio": f"{0.5 + 0.15 * debt[n]:.2f}", "cash_ratio": f"{np.exp(-1.2 + 0.6 * cash[n]):.2f}",
            "related_sales_percent": f"{100 / (1 + np.exp(2.5 - related[n])):.1f}", "late_filings": int(late[n]),
            "new_auditor": "yes" if auditor[n] else "no", "fraud": "yes" if fraud[n] else "no",
        }
        for n in range(count)
    ]  # fmt: skip


def tables(work: Path) -> None:
    """Sample, hold-out, schema and what was written, as files for any tool."""
    from understudy.corpus.table_schema import written

    recipe = resolved(load_recipe(work / "recipe.yaml"))
    sample = read_sample(recipe)
    write(work / "sample.csv", sample.rows)
    write(work / "held-out.csv", sample.holdout)
    (work / "schema.yaml").write_text(written(sample.schema))
    if not (work / "understudy.csv").is_file():
        understudy("export", work / "corpus", work / "understudy.csv", "--as", "rows")


BASELINE = """
import sys, pandas as pd
from sdv.metadata import Metadata
from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer
model, sample, out, count, categories = sys.argv[1:]
rows = pd.read_csv(sample, dtype=dict.fromkeys(categories.split(","), str))
metadata = Metadata.detect_from_dataframes({"rows": rows}, infer_keys=None)
kind = GaussianCopulaSynthesizer if model == "copula" else CTGANSynthesizer
made = kind(metadata)
made.fit({"rows": rows})
drawn = made.sample(int(count))
(drawn["rows"] if isinstance(drawn, dict) else drawn).to_csv(out, index=False)
"""


def baseline(python: Path, model: str, work: Path, count: int) -> None:
    """Rows from SDV, with its own defaults, in its own environment."""
    from understudy.corpus.table_schema import read_schema

    categories = [name for name, column in read_schema(work / "schema.yaml").items() if column.type == "category"]
    files = (str(work / "sample.csv"), str(work / f"{model}.csv"))
    command = [str(python), "-c", BASELINE, model, *files, str(count), ",".join(categories)]
    subprocess.run(command, check=True)  # noqa: S603


def lines(found: dict[str, Any]) -> Any:
    """What is compared, a line each."""

    def finding(said: Any, name: str) -> str:
        (one,) = (one for one in said["privacy"]["findings"] if one["name"] == name)
        value = "not measured" if one["value"] is None else f"{one['value']:.3g}"
        return value + ("" if one["passed"] is not False else " (fails)")

    for name in ("exact-copies", "near-copies", "closest-record", "distance-ratio", "hit-rate", "attack-auc"):
        yield (name, *(finding(said, name) for said in found.values()))
    for place, one in enumerate(next(iter(found.values()))["fidelity"]["trend"]):
        name = f"{one['name']} (real samples: {one['usual']:.3f})"
        yield (name, *(f"{said['fidelity']['trend'][place]['value']:.3f}" for said in found.values()))
    yield ("trend", *("passes" if said["fidelity"]["passed"] else "fails" for said in found.values()))
    for place, one in enumerate(next(iter(found.values()))["detection"]):
        told = (f"{said['detection'][place]['auc']['mean']:.3f}" for said in found.values())
        yield (f"told from real rows by {one['by']}, AUC", *told)
    for place, one in enumerate(next(iter(found.values()))["useful"]["scores"]):
        name = f"{one['target']}, {one['model']}, {one['measure']}; real sample: {one['real']['mean']:.3f}"
        made = (said["useful"]["scores"][place]["synthetic"] for said in found.values())
        yield (name, *(f"{score['mean']:.3f} ({score['low']:.2f} to {score['high']:.2f})" for score in made))


def write(path: Path, rows: Sequence[Row] | Sequence[Record]) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def understudy(*words: object) -> None:
    """Run a command of Understudy, as a user would."""
    command = [str(Path(sys.executable).with_name("understudy")), *map(str, words)]
    print("$", " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True)  # noqa: S603


def understudy_json(*words: object) -> Any:
    """The same for one that prints JSON; `table compare` exits with 1 where privacy fails."""
    command = [str(Path(sys.executable).with_name("understudy")), *map(str, words)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
