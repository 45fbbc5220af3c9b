"""One training as its trainers see it: the plan, the base, the rows, and where checkpoints go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import ModelError, UserError
from understudy.lessons import ENCODERS, Training
from understudy.models.embedded import NAME, embedded_path
from understudy.models.embedder import minilm_path
from understudy.models.folders import check_folder
from understudy.models.loaded import best_dtype
from understudy.recipe import Recipe
from understudy.training.data import Row


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """How far a training is."""

    step: int
    steps: int
    loss: float
    """Mean since the last word."""
    tokens: int
    """Tokens read so far, in all sittings."""


@dataclass(frozen=True, slots=True)
class Job:
    """What an objective's module makes a trainer of."""

    plan: Training
    base: Path
    rows: list[Row]
    tokenizer: Any
    checkpoints: Path

    @property
    def arguments(self) -> dict[str, Any]:
        """What all trainers of transformers, TRL and sentence-transformers take."""
        import torch

        plan, cuda = self.plan, torch.cuda.is_available()
        devices = world()
        if plan.batch_size % devices:
            raise UserError(
                f"`training.batch_size` is {plan.batch_size}, on {devices} devices",
                expected=f"a multiple of {devices}",
            )
        return {
            "output_dir": str(self.checkpoints), "max_steps": plan.steps,
            "per_device_train_batch_size": plan.batch_size // devices, "learning_rate": plan.rate,
            "lr_scheduler_type": "cosine", "warmup_steps": max(1, plan.steps // 20), "seed": plan.seed,
            "data_seed": plan.seed, "bf16": narrow(), "use_cpu": not cuda, "activation_checkpointing": False,
            "logging_steps": 1, "save_strategy": "steps",
            "save_steps": plan.checkpoint_every or max(1, plan.steps // 10), "save_total_limit": 2,
            "report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": cuda,
        }  # fmt: skip

    def lora(self, task: str = "CAUSAL_LM") -> Any:
        """The adapter's configuration; None for full weights."""
        from peft import LoraConfig

        plan = self.plan
        if plan.tuning == "full":
            return None
        return LoraConfig(
            r=plan.rank, lora_alpha=plan.alpha, target_modules="all-linear", lora_dropout=0.0, bias="none",
            use_rslora=plan.tuning == "rslora", use_dora=plan.tuning == "dora", task_type=task,
            exclude_modules=None if task == "CAUSAL_LM" else ["score", "classifier"],  # the head is trained whole
        )  # fmt: skip

    @property
    def dtype(self) -> Any:
        """In what the base's weights are held: those that are trained, in float32."""
        import torch

        return torch.bfloat16 if narrow() and self.plan.tuning != "full" else torch.float32


@dataclass(frozen=True, slots=True)
class Prepared:
    """A trainer that is ready, and what it will read."""

    trainer: Any
    lengths: list[int]
    """Tokens of what each place of the training reads, in its order."""
    save: Callable[[Path], None]
    """Writes what was learned into a folder."""


def world() -> int:
    """On how many devices this training runs."""
    import os

    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    import os

    return os.environ.get("RANK", "0") == "0"


def narrow() -> bool:
    """Whether to compute in bfloat16: on a GPU, and on CPUs that have it."""
    import torch

    return best_dtype("cuda" if torch.cuda.is_available() else "cpu") == "bfloat16"


def base_path(recipe: Recipe) -> tuple[str, Path]:
    """Name and folder of the model that training starts from.

    Raises:
        ModelError: when it is missing.
    """
    plan = recipe.training
    if plan.base == "embedded":
        return minilm_path() if plan.objective in ENCODERS else (NAME, embedded_path())
    path = recipe.path(plan.base)
    check_folder(path)
    return path.name, path


def needs(names: tuple[str, ...]) -> None:
    """That libraries are there.

    Raises:
        ModelError: naming the first that is not.
    """
    import importlib.util

    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ModelError(f"training needs {name}", remedy="install it with `pip install 'understudy[local]'`")
