"""Training by objective on a tiny base: what is learned from, what is kept of it, and what is refused before it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import RecipeError, RunFolderError
from understudy.training import check, read_lineage, train
from understudy.training.ancestry import learned_rows

pytestmark = pytest.mark.slow

Write = Callable[..., Path]


def talk(asked: str, answered: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


TALKS = [talk(f"What is {n} plus {n}?", f"It is {2 * n}.") for n in range(1, 9)]
PAIRS = [{"prompt": f"Say {n}.", "chosen": f"{n}", "rejected": "I would rather not."} for n in range(8)]


def test_a_vm_folder_says_what_it_learned_from(recipe_of: Write, tmp_path: Path) -> None:
    seen: list[int] = []
    trained = train(recipe_of(TALKS), tmp_path / "vm", lambda progress: seen.append(progress.step))
    vm = tmp_path / "vm"
    assert read_lineage(vm) == trained
    assert trained.corpus is None and list(trained.files) == [str(tmp_path / "rows.jsonl")]
    assert seen == [1, 2, 3, 4, 5, 6] and [step for step, _ in trained.losses] == seen
    assert len(learned_rows(vm)) == trained.rows == 8
    assert trained.tokens > 0 and trained.tokens_per_second
    assert (vm / "loss.svg").read_text().startswith("<?xml") and "loss.svg" in (vm / "README.md").read_text()
    assert not [path for path in vm.rglob("*") if path.suffix in {".bin", ".pt", ".pth"}]
    assert not (tmp_path / ".vm.training").exists()


@pytest.mark.parametrize("method", ["lora", "rslora", "full"])
@pytest.mark.parametrize("packing", [False, True])
def test_every_way_to_fine_tune_lowers_the_loss(recipe_of: Write, tmp_path: Path, method: str, packing: bool) -> None:
    recipe = recipe_of(TALKS, method=method, packing=packing, steps=12, learning_rate=0.02, max_tokens=128)
    trained = train(recipe, tmp_path / "vm")
    assert trained.losses[-1][1] < trained.losses[0][1]
    assert (tmp_path / "vm" / "adapter_config.json").exists() == (method != "full")


def test_a_packed_row_sees_itself_alone(tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    from understudy.lessons import Training
    from understudy.training import sft
    from understudy.training.job import Job
    from understudy.training.tokens import sequence

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [sequence(row["messages"], tokenizer) for row in TALKS]
    losses = {}
    for packing in (False, True):
        plan = Training(steps=1, batch_size=1 if packing else 8, packing=packing, max_tokens=400, method="full")
        ready = sft.prepare(Job(plan, tiny, [], tokenizer, tmp_path / str(packing)), rows, list(range(8)))
        (batch,) = list(ready.trainer.get_train_dataloader())
        with torch.no_grad():
            losses[packing] = float(ready.trainer.compute_loss(ready.trainer.model.eval(), batch))
        shape = tuple(batch["input_ids"].shape)
        assert shape == ((1, sum(ready.lengths)) if packing else (8, max(ready.lengths)))
    alone = []
    model = ready.trainer.model.float().eval()
    for row in rows:
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1].float()
        labels = torch.tensor(row.labels[1:])
        alone.append(torch.nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=-100))
    learned = sum(label != -100 for row in rows for label in row.labels)
    assert losses[False] == pytest.approx(float(sum(alone)) / learned, rel=5e-3)
    assert losses[True] == pytest.approx(losses[False], rel=5e-3)


@pytest.mark.parametrize("objective", ["dpo", "simpo"])
def test_preferences_are_learned_with_a_reference_and_without(recipe_of: Write, tmp_path: Path, objective: str) -> None:
    trained = train(recipe_of(PAIRS, objective=objective, steps=12, learning_rate=0.02), tmp_path / "vm")
    assert trained.losses[-1][1] < trained.losses[0][1]
    if objective == "dpo":
        assert trained.losses[0][1] == pytest.approx(0.6931, abs=1e-3)  # nothing is preferred yet
    assert trained.objective == objective


def test_an_adapter_can_be_merged_at_the_end_and_dora_must_be(recipe_of: Write, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    train(recipe_of(TALKS, method="dora", merge=True), tmp_path / "vm")
    assert not (tmp_path / "vm" / "adapter_config.json").exists()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "vm").num_parameters() > 0
    with pytest.raises(RecipeError, match="vLLM serves no DoRA"):
        check(recipe_of(TALKS, method="dora"))


def test_reward_models_of_answers_and_of_steps_learn_their_labels(recipe_of: Write, tmp_path: Path, tiny: Path) -> None:
    from understudy.training.heads import Headed

    answers = [{"prompt": "Good?", "completion": "yes" if n % 2 else "no", "label": n % 2} for n in range(8)]
    train(recipe_of(answers, objective="outcome", steps=40, learning_rate=0.02), tmp_path / "orm")
    model = Headed(tmp_path / "orm", tiny, "outcome")
    assert model.outcome("Good?", "yes") > 0.7 > 0.3 > model.outcome("Good?", "no")
    steps = [{"prompt": "Count.", "completions": ["right", "wrong"], "labels": [1, 0]} for _ in range(4)]
    train(recipe_of(steps, objective="process", steps=40, learning_rate=0.02), tmp_path / "prm")
    right, wrong = Headed(tmp_path / "prm", tiny, "process").steps("Count.", ["right", "wrong"])
    assert right > 0.7 > 0.3 > wrong


def test_a_classifier_learns_soft_labels_as_soft_as_they_are(recipe_of: Write, tmp_path: Path, tiny: Path) -> None:
    from understudy.training.heads import Headed

    rows = [{"text": text, "probabilities": share} for text, share in (("aaaa", [0.8, 0.2]), ("bbbb", [0.1, 0.9]))] * 4
    train(recipe_of(rows, objective="soft", steps=60, learning_rate=0.02, batch_size=4), tmp_path / "vm")
    (a, b) = Headed(tmp_path / "vm", tiny, "soft", labels=2).classes(["aaaa", "bbbb"])
    assert a[0] == pytest.approx(0.8, abs=0.1) and b[1] == pytest.approx(0.9, abs=0.1)


def test_a_share_is_part_of_a_larger_one_and_replay_has_its_share(recipe_of: Write, tmp_path: Path) -> None:
    general = [talk(f"Sing {n}.", "La la.") for n in range(9)]
    (tmp_path / "general.jsonl").write_text("".join(json.dumps(row) + "\n" for row in general))
    for name, changes in (("half", {"share": 0.5}), ("quarter", {"share": 0.25}), ("all", {})):
        train(recipe_of(TALKS), tmp_path / name, **changes)
    ids = {name: {row["id"] for row in learned_rows(tmp_path / name)} for name in ("quarter", "half", "all")}
    assert ids["quarter"] < ids["half"] < ids["all"] and len(ids["half"]) == 4
    trained = train(recipe_of(TALKS, replay={"path": "general.jsonl", "share": 0.2}), tmp_path / "replayed")
    sources = [row["source"] for row in learned_rows(tmp_path / "replayed")]
    assert sources.count("general.jsonl") == 2 and trained.rows == 10


def test_a_training_that_was_stopped_goes_on_only_as_the_same_one(recipe_of: Write, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 4:
            raise Stop

    recipe = recipe_of(TALKS, checkpoint_every=1)
    with pytest.raises(Stop):
        train(recipe, tmp_path / "vm", stop)
    with pytest.raises(RunFolderError, match="another training that was not finished"):
        train(recipe, tmp_path / "vm", steps=7)
    seen: list[int] = []
    resumed = train(recipe, tmp_path / "vm", lambda progress: seen.append(progress.step))
    whole = train(recipe, tmp_path / "whole")
    assert seen[0] > 1 and [step for step, _ in resumed.losses] == [1, 2, 3, 4, 5, 6]
    assert resumed.losses[-1][1] == pytest.approx(whole.losses[-1][1], rel=1e-6)
    with pytest.raises(Stop):
        train(recipe, tmp_path / "other", stop)
    assert train(recipe, tmp_path / "other", restart=True, steps=7).steps == 7


def test_half_a_checkpoint_is_not_gone_on_from(recipe_of: Write, tmp_path: Path) -> None:
    def stop(progress: Any) -> None:
        if progress.step == 4:
            raise RuntimeError

    recipe = recipe_of(TALKS, checkpoint_every=1)
    with pytest.raises(RuntimeError):
        train(recipe, tmp_path / "vm", stop)
    newest = tmp_path / ".vm.training" / "checkpoints" / "checkpoint-3"
    (newest / "complete").unlink()
    (newest / "adapter_model.safetensors").write_bytes(b"torn")
    assert train(recipe, tmp_path / "vm").losses[-1][0] == 6
