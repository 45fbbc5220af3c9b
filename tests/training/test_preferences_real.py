"""Supervision, then preferences, on the embedded base: the margin rises on pairs not seen, and answers still end."""

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.evals.answering import Models, Prompt
from understudy.training import train

pytestmark = pytest.mark.slow

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gwen", "Hugo", "Iris", "Jon", "Kim", "Leo", "Mia", "Ned", "Olga",
         "Paul", "Rosa", "Sam", "Tara", "Ugo", "Vera", "Will", "Xena", "Yan", "Zoe", "Abel", "Bea", "Cora", "Dirk", "Elsa")  # fmt: skip


def pair(name: str) -> dict[str, Any]:
    return {
        "prompt": f"Greet {name}.",
        "chosen": f"Good day, {name}!",
        "rejected": f"Hey there {name}, what's up, what's up?",
    }


def trained(home: Path, name: str, rows: list[dict[str, Any]], **block: Any) -> Path:
    (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = {"name": name, "seeds": [{"path": "none"}], "accept": 1, "training": {"data": [f"{name}.jsonl"], **block}}
    (home / f"{name}.yaml").write_text(json.dumps(body))
    train(home / f"{name}.yaml", home / name)
    return home / name


def margins(base: Path, vm: Path, pairs: list[dict[str, Any]]) -> list[float]:
    """How much likelier the chosen answer is than the rejected one, in nats."""
    models = Models(base, vm)
    with models.as_vm() as model:
        asked = models.answering(model)
        prompts = [Prompt(({"role": "user", "content": one["prompt"]},)) for one in pairs]
        chosen, rejected = (
            [sum(found) for found in asked.logprobs([(p, one[side]) for p, one in zip(prompts, pairs, strict=True)])]
            for side in ("chosen", "rejected")
        )
    return [one - other for one, other in zip(chosen, rejected, strict=True)]


def test_margins_rise_on_unseen_pairs_and_the_end_of_turn_is_not_lost(tmp_path: Path) -> None:
    seen, unseen = [pair(name) for name in NAMES[:20]], [pair(name) for name in NAMES[20:]]
    # Both manners are learned first, so that preferences have something to choose between.
    both = [{"prompt": one["prompt"], "completion": one[side]} for one in seen for side in ("chosen", "rejected")]
    block = {"batch_size": 4, "learning_rate": 0.0005, "max_tokens": 96}
    sft = trained(tmp_path, "sft", both, steps=20, merge=True, **block)
    dpo = trained(tmp_path, "dpo", seen, objective="dpo", base=str(sft), steps=24, **block | {"batch_size": 2})
    before, after = margins(sft, sft, unseen), margins(sft, dpo, unseen)
    assert sum(after) / len(after) > sum(before) / len(before) + 1
    models = Models(sft, dpo)
    prompts = [Prompt(({"role": "user", "content": f"Greet {name}."},)) for name in NAMES]
    with models.as_vm() as model:
        said = [one[0] for one in models.answering(model).answers(prompts, max_new_tokens=64)]
    ended = [answer for answer in said if len(models.tokenizer.encode(answer)) < 64]
    assert len(ended) >= 0.95 * len(said), said
