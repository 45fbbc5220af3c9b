"""The model card: what the VM is, from which corpus, recipe and base, each named by hash."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCardData

from understudy import __version__
from understudy.lessons import ENCODERS
from understudy.recipe import Recipe
from understudy.training.lineage import Trained

_CAUSAL = "AutoModelForCausalLM"
_KINDS = {"process": "AutoModelForTokenClassification", "outcome": "AutoModelForSequenceClassification"}
_KINDS["soft"] = _KINDS["outcome"]
_TASKS = {"retriever": "sentence-similarity", "reranker": "text-ranking", "process": "token-classification"}
_TASKS |= {"outcome": "text-classification", "soft": "text-classification"}


def write_card(folder: Path, trained: Trained, recipe: Recipe) -> None:
    """Write README.md of a VM folder."""
    adapter = (folder / "adapter_config.json").is_file()
    front = ModelCardData(
        license=recipe.license,
        library_name=_library(trained, adapter),
        base_model=trained.base.partition("@")[0],
        tags=["understudy", "synthetic", trained.objective],
        pipeline_tag=_TASKS.get(trained.objective, "text-generation"),
    ).to_yaml()
    first, last = (trained.losses[0], trained.losses[-1]) if trained.losses else ((0, 0.0), (0, 0.0))
    speed = f", {trained.tokens_per_second:,.0f} a second" if trained.tokens_per_second else ""
    left_out = {"too long": trained.too_long, "with tools": trained.with_tools, **trained.left_out}
    facts = {
        "base": trained.base,
        "corpus": f"{Path(trained.corpus).name}, digest {trained.corpus_digest}" if trained.corpus else "–",
        "files": ", ".join(f"{Path(name).name} ({digest[:12]})" for name, digest in trained.files.items()) or "–",
        "recipe": f"{trained.recipe}, version {trained.recipe_version}",
        "method": f"{trained.objective}, {trained.method}, {trained.steps} steps, rate {trained.learning_rate:g}, "
        f"seed {trained.seed}",
        "rows": f"{trained.rows}; left out: "
        + (", ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "none"),
        "tokens": f"{trained.tokens:,}{speed}",
        "loss": f"{first[1]:.3f} at first, {last[1]:.3f} at last" if trained.losses else "–",
    }
    lines = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    text = (
        f"---\n{front}\n---\n\n# {recipe.name} VM\n\nA small model trained with Understudy {__version__} on what is "
        f"named below. {_use(trained, adapter)}\n\n| | |\n| --- | --- |\n{lines}\n\n"
        "![Training loss by step](loss.svg)\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _library(trained: Trained, adapter: bool) -> str:
    if trained.objective in ENCODERS:
        return "sentence-transformers"
    return "peft" if adapter else "transformers"


def _use(trained: Trained, adapter: bool) -> str:
    if trained.objective in ENCODERS:
        kind = "SentenceTransformer" if trained.objective == "retriever" else "CrossEncoder"
        return f"Load it with `sentence_transformers.{kind}(folder)`."
    if adapter and trained.objective not in _KINDS:
        return (
            "Load it with `peft.PeftModel.from_pretrained(base, folder)`. "
            "`understudy eval` compares it with its base on seeds it has not seen."
        )
    if adapter:
        return f"Load it with `peft.PeftModel.from_pretrained` over `transformers.{_KINDS[trained.objective]}`."
    return f"Load it with `transformers.{_KINDS.get(trained.objective, _CAUSAL)}.from_pretrained(folder)`."
