"""Supervised fine-tuning of the VM: TRL's trainer, LoRA or full weights, loss on the answers only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.corpus import RunFolder, rows
from understudy.corpus.order import arranged, likeness
from understudy.errors import ModelError, RunFolderError
from understudy.models.embedded import NAME, embedded_path
from understudy.models.folders import check_folder, fingerprint
from understudy.models.local import hush, leave_a_core
from understudy.nouns import address
from understudy.recipe import Recipe
from understudy.training.card import write_card
from understudy.training.rows import fit

LINEAGE = "understudy.json"
# LoRA wants about ten times the rate of full weights ("LoRA Without Regret", Thinking Machines, 2025).
_RATES = {"lora": 2e-4, "full": 2e-5}


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """One logged step."""

    step: int
    steps: int
    loss: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Trained:
    """A VM and where it came from; saved beside it as `understudy.json`."""

    corpus: str
    corpus_digest: str
    recipe: str
    recipe_version: str
    base: str
    base_path: str
    method: str
    rows: int
    too_long: int
    """Rows left out because they are longer than `training.max_tokens`."""
    steps: int
    learning_rate: float
    seed: int
    losses: tuple[tuple[int, float], ...]
    """(step, training loss)."""
    with_tools: int = 0
    """Rows left out because they are talks about tools."""


def base_path(recipe: Recipe) -> tuple[str, Path]:
    """Name and folder of the base model.

    Raises:
        ModelError: when it is missing.
    """
    if recipe.training.base == "embedded":
        return NAME, embedded_path()
    path = recipe.path(recipe.training.base)
    check_folder(path)
    return path.name, path


def train(corpus: Path, out: Path, watch: Callable[[TrainProgress], None] | None = None, **changes: Any) -> Trained:
    """Fine-tune the recipe's base on the train split of a corpus.

    Args:
        corpus: a corpus folder.
        out: where the VM goes; must be new or empty.
        watch: called with every logged step.
        changes: fields of the recipe's `training:` block to use instead.

    Raises:
        RunFolderError: for a missing corpus or a folder in the way.
        ModelError: for a missing base.
        UserError: when no row can be trained on.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError("is not empty", where=str(out), remedy="name a new folder with --out")
    with RunFolder.read(corpus) as folder:
        given = folder.recipe.training.model_dump() | {k: v for k, v in changes.items() if v is not None}
        recipe = folder.recipe.model_copy(update={"training": type(folder.recipe.training).model_validate(given)})
        accepted = list(folder.word().rows(folder.rows("accepted", "train")))
        # Without its tools in the prompt, a talk about tools would teach nothing true.
        found = [(rows.messages(row), likeness(row)) for row in accepted if not row.get("tools")]
        digest = folder.digest
    name, base = base_path(recipe)
    try:
        import torch
        from datasets import Dataset, disable_progress_bars
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
        from trl import SFTConfig, SFTTrainer
    except ImportError as error:
        raise ModelError(
            f"training needs {error.name}", remedy="install it with `pip install 'understudy[local]'`"
        ) from error
    disable_progress_bars()
    plan = recipe.training
    rate = plan.learning_rate or _RATES[plan.method]
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    kept = fit([messages for messages, _ in found], tokenizer, plan.max_tokens)
    alike = [found[place][1] for place in kept.kept]
    set_seed(plan.seed)
    leave_a_core()
    hush()
    cuda = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16 if cuda else torch.float32, local_files_only=True, use_safetensors=True
    )
    lora = LoraConfig(
        r=plan.rank, lora_alpha=plan.alpha, target_modules="all-linear", lora_dropout=0.0, bias="none",
        task_type="CAUSAL_LM",
    )  # fmt: skip
    losses: list[tuple[int, float]] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if logs and "loss" in logs:
                losses.append((state.global_step, float(logs["loss"])))
                if watch:
                    watch(
                        TrainProgress(
                            state.global_step, plan.steps, float(logs["loss"]), int(logs.get("num_tokens", 0))
                        )
                    )

    class Arranged(torch.utils.data.Sampler):  # type: ignore[misc]
        epoch = 0

        def __len__(self) -> int:
            return len(alike)

        def __iter__(self) -> Iterator[int]:
            self.epoch += 1
            return iter(arranged(alike, plan.seed + self.epoch - 1))

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Arranged:
            return Arranged()

    building = out.with_name(f".{out.name}.training")
    shutil.rmtree(building, ignore_errors=True)
    settings = SFTConfig(
        output_dir=str(building), max_steps=plan.steps, per_device_train_batch_size=plan.batch_size,
        learning_rate=rate, lr_scheduler_type="cosine", warmup_steps=max(1, plan.steps // 20),
        max_length=plan.max_tokens, completion_only_loss=True, seed=plan.seed, data_seed=plan.seed,
        bf16=cuda, use_cpu=not cuda, gradient_checkpointing=False, logging_steps=max(1, plan.steps // 20),
        save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=cuda,
    )  # fmt: skip
    try:
        trainer = Trainer(
            model=model,
            args=settings,
            train_dataset=Dataset.from_list(kept.rows),
            processing_class=tokenizer,
            peft_config=lora if plan.method == "lora" else None,
            callbacks=[Watch()],
        )
        for callback in ("PrinterCallback", "ProgressCallback"):
            trainer.callback_handler.callbacks = [
                c for c in trainer.callback_handler.callbacks if type(c).__name__ != callback
            ]
        trainer.train()
        building.mkdir(parents=True, exist_ok=True)
        trainer.save_model(str(building))
        (building / "training_args.bin").unlink(missing_ok=True)  # a pickle; what it says stands in the lineage
        tokenizer.save_pretrained(building)
        trained = Trained(
            corpus=str(corpus.resolve()),
            corpus_digest=digest,
            recipe=recipe.name,
            recipe_version=address(recipe.model_dump(mode="json")),
            base=f"{name}@{fingerprint(base)}",
            base_path=str(base),
            method=plan.method,
            rows=len(kept.rows),
            too_long=kept.too_long,
            with_tools=len(accepted) - len(found),
            steps=plan.steps,
            learning_rate=rate,
            seed=plan.seed,
            losses=tuple(losses),
        )
        (building / LINEAGE).write_text(json.dumps(asdict(trained), indent=2) + "\n", encoding="utf-8")
        write_card(building, trained, recipe)
        if out.is_dir():
            out.rmdir()
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return trained


def read_lineage(vm: Path) -> Trained:
    """The lineage of a VM folder.

    Raises:
        RunFolderError: when the folder was not written by `train`.
    """
    path = vm / LINEAGE
    if not path.is_file():
        raise RunFolderError(
            "not a VM: it has no understudy.json", where=str(vm), remedy="give the --out folder of `understudy train`"
        )
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Trained(**{**fields, "losses": tuple((step, loss) for step, loss in fields["losses"])})
