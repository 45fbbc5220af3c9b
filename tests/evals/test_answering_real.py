"""The embedded model and an adapter of it, asked in batches: what padding must not change."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.errors import ModelError
from understudy.evals import answering
from understudy.evals.answering import Models, Prompt
from understudy.evals.forgetting import forgotten
from understudy.evals.task_file import load_task
from understudy.evals.tasks import ask, cases, measure
from understudy.models.embedded import embedded_path
from understudy.models.local import hush

pytestmark = pytest.mark.slow

PROMPTS = [
    Prompt(({"role": "user", "content": text},))
    for text in (
        "Name the capital of France in one word.",
        "Say hello.",
        "A river rises in the hills, runs past an old mill and three villages, and joins the sea at a small harbour "
        "where boats bring in herring. Where does the river end?",
        "Is ice cold? Answer yes or no.",
        "Count from one to three.",
    )
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The embedded model, and an adapter with random weights as the VM."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    hush()
    base = embedded_path()
    torch.manual_seed(0)
    settings = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapter = tmp_path_factory.mktemp("vm")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base, local_files_only=True), settings).save_pretrained(adapter)
    return Models(base, adapter)


def test_answers_in_a_batch_are_those_to_one_prompt_at_a_time(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_BATCH", 3)
    seen: list[tuple[int, int]] = []
    with models.as_base() as model:
        speaker = models.answering(model)
        together = speaker.answers(PROMPTS, 8, watch=lambda done, total: seen.append((done, total)))
        alone = [speaker.answers([prompt], 8)[0] for prompt in PROMPTS]
    assert together == alone
    assert seen == [(3, 5), (5, 5)]
    assert all(answer for (answer,) in together)


def test_logprobs_in_a_batch_are_those_of_one_pass_without_padding(models: Models) -> None:
    import torch

    pairs = list(zip(PROMPTS, ["Paris.", "Hello to you, whoever you are!", "At the sea.", "yes", "1 2 3"], strict=True))
    with models.as_base() as model:
        found = models.answering(model).logprobs(pairs)
        for (prompt, answer), logprobs in zip(pairs, found, strict=True):
            head = models.tokenizer.apply_chat_template(
                list(prompt.messages), tokenize=True, add_generation_prompt=True, return_dict=False
            )
            tail = models.tokenizer.encode(answer + models.tokenizer.eos_token, add_special_tokens=False)
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([head + tail])).logits[0, len(head) - 1 : -1]
            expected = torch.log_softmax(logits.float(), dim=-1)[range(len(tail)), tail].tolist()
            assert logprobs == pytest.approx(expected, abs=2e-3)


def test_choices_score_as_they_do_one_by_one_whatever_is_read_together(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = ["Paris", "Paris, or rather a herring", "Bread", "yes"]
    with models.as_vm() as model:
        speaker = models.answering(model)
        alone = [[sum(one) for one in speaker.logprobs([(prompt, said) for said in choices])] for prompt in PROMPTS]
        told: list[tuple[int, int]] = []
        found = speaker.scores(PROMPTS, choices, watch=lambda done, all_: told.append((done, all_)))
        assert np.allclose(found, alone, atol=2e-3) and told[-1] == (len(PROMPTS), len(PROMPTS))
        monkeypatch.setattr(answering, "_MOST_CACHED", 1)  # one prompt at a time
        assert np.allclose(speaker.scores(PROMPTS, choices), alone, atol=2e-3)


def test_a_likely_choice_scores_above_an_unlikely_one_and_draws_follow_the_seed(models: Models) -> None:
    with models.as_base() as model:
        speaker = models.answering(model)
        (scores,) = speaker.scores(PROMPTS[:1], ["Paris", "Paris, or rather a herring", "Bread"])
        assert scores[0] > scores[2] and scores[0] > scores[1]
        drawn = [speaker.answers(PROMPTS[1:2], 6, samples=4, temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0][0]) == 4 and len(set(drawn[0][0])) > 1


def test_the_adapter_speaks_as_the_vm_alone_and_a_task_tells_them_apart(models: Models, tmp_path: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Is ice cold? Answer yes or no."},
                {"role": "assistant", "content": said},
            ]
        }
        for said in ("yes", "yes", "no")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "cold.yaml").write_text("name: cold\ndata: rows.jsonl\nmeasure: classes\nchoices: ['yes', 'no']\n")
    task = load_task(tmp_path / "cold.yaml")
    found, refused = cases(task)
    assert not refused
    said: dict[str, Any] = {}
    for name, role in (("base", models.as_base), ("vm", models.as_vm), ("base again", models.as_base)):
        with role() as model:
            said[name] = ask(task, found, models.answering(model))
    assert said["base"] != said["vm"]
    assert np.allclose(said["base"].scores, said["base again"].scores, atol=1e-4)  # the adapter was added and taken off
    measured = measure(task, found, said["base"]).values()["accuracy"]
    assert measured.n == 3 and round(3 * measured.mean) in {1, 2}
    scores, by_row = forgotten(models, rows)
    assert scores.vm > scores.base and len(by_row) == 3


def test_a_row_that_is_longer_than_the_context_is_told(models: Models) -> None:
    with models.as_base() as model, pytest.raises(ModelError, match="takes 8192 tokens, and the longest row needs"):
        models.answering(model).answers(PROMPTS, 9000)
