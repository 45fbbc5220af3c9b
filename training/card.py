"""The model card: what the VM is, from which corpus, recipe and base, each named by hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import ModelCardData

from understudy import __version__
from understudy.recipe import Recipe

if TYPE_CHECKING:
    from understudy.training.sft import Trained


def write_card(folder: Path, trained: Trained, recipe: Recipe) -> None:
    """Write README.md of a VM folder."""
    front = ModelCardData(
        license=recipe.license,
        library_name="peft" if trained.method == "lora" else "transformers",
        base_model=trained.base.partition("@")[0],
        tags=["understudy", "synthetic", "sft"],
        pipeline_tag="text-generation",
    ).to_yaml()
    facts = {
        "base": trained.base,
        "corpus": f"{Path(trained.corpus).name}, digest {trained.corpus_digest}",
        "recipe": f"{trained.recipe}, version {trained.recipe_version}",
        "method": f"{trained.method}, {trained.steps} steps, rate {trained.learning_rate:g}, seed {trained.seed}",
        "rows": f"{trained.rows} ({trained.too_long} left out as too long, {trained.with_tools} with tools)",
        "loss": f"{trained.losses[0][1]:.3f} at first, {trained.losses[-1][1]:.3f} at last" if trained.losses else "–",
    }
    lines = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    use = (
        "Load it with `peft.PeftModel.from_pretrained(base, folder)`."
        if trained.method == "lora"
        else "Load it with `transformers.AutoModelForCausalLM.from_pretrained(folder)`."
    )
    text = (
        f"---\n{front}\n---\n\n# {recipe.name} VM\n\nA small model trained with Understudy {__version__} on the "
        f"synthetic corpus named below; the loss was on the answers only. {use} "
        f"`understudy eval` compares it with its base on seeds it has not seen.\n\n| | |\n| --- | --- |\n{lines}\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
