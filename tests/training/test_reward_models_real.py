"""A process reward model on the embedded base learns which steps of a sum are wrong."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from understudy.evals.steps import first_error, product_score, worst_score
from understudy.training import train
from understudy.training.heads import Headed

pytestmark = pytest.mark.slow

CHAINS, HELD_OUT, LONGEST = 500, 60, 4


def chain(rng: Random) -> dict[str, Any]:
    """Steps that follow from one another; in half of the chains one is wrong, and the rest go on from there."""
    at = rng.randrange(1, 9)
    prompt = f"Start with {at}."
    wrong = rng.randrange(LONGEST) if rng.random() < 0.5 else None
    steps, labels = [], []
    for place in range(LONGEST):
        more = rng.randrange(1, 3)
        right = at + more
        said = right + rng.choice([-4, -3, 3, 4]) if place == wrong else right
        steps.append(f"{at} + {more} = {said}")
        labels.append(wrong is None or place < wrong)
        at = said
        if place == wrong:
            break  # what comes after the first error is not labelled (arXiv 2305.20050, section 2.4)
    return {"prompt": prompt, "completions": steps, "labels": labels}


def test_wrong_steps_are_told_from_right_ones_after_a_few_steps_of_training(tmp_path: Path) -> None:
    rng = Random(0)
    rows = [chain(rng) for _ in range(CHAINS)]
    held_out = [chain(rng) for _ in range(HELD_OUT)]
    (tmp_path / "chains.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "sums", "seeds": [{"path": "none"}], "accept": 1,
        "training": {"objective": "process", "data": ["chains.jsonl"], "steps": 60, "batch_size": 8,
                     "learning_rate": 0.002, "max_tokens": 128},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    trained = train(tmp_path / "recipe.yaml", tmp_path / "prm")
    model = Headed(tmp_path / "prm", Path(trained.base_path), "process")
    scored = [(row, model.steps(row["prompt"], row["completions"])) for row in held_out]
    from sklearn.metrics import roc_auc_score

    labels = [label for row, _ in scored for label in row["labels"]]
    scores = [score for _, found in scored for score in found]
    assert roc_auc_score(labels, scores) >= 0.75
    broken = [(row, found) for row, found in scored if not all(row["labels"])]
    hits = sum(first_error(found) == row["labels"].index(False) for row, found in broken)
    chance = sum(1 / len(found) for _, found in broken)
    assert hits >= min(2 * chance, 0.9 * len(broken))
    whole = [all(row["labels"]) for row, _ in scored]
    for score in (product_score, worst_score):
        assert roc_auc_score(whole, [score(found) for _, found in scored]) >= 0.75
