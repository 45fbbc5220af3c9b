"""An adapter and its base as one folder of weights, for engines that run no adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.errors import ModelError
from understudy.models.adapters import check_base
from understudy.models.chat import check_tokenizer
from understudy.models.folders import check_adapter, check_folder
from understudy.models.loaded import hush, leave_a_core
from understudy.models.loading import LOADING
from understudy.models.ollama import modelfile

DTYPES = ("float32", "bfloat16", "float16")


def merge(weights: Path, adapter: Path | None, words: Path, out: Path, dtype: str | None = None) -> tuple[str, bool]:
    """Write weights, tokenizer, generation config and a Modelfile into a folder.

    The sum is formed in float32, so memory for the model in float32 is needed, and then rounded.

    Args:
        weights: the folder of the base, or of weights of a VM's own.
        adapter: the folder of the adapter to add, if any.
        words: the folder of the tokenizer.
        out: an empty folder.
        dtype: of the weights that are written; None means that of `weights`.

    Returns:
        The dtype, and whether the Modelfile has a template.

    Raises:
        ModelError: when a folder is wrong, a library is missing, or adapter and base are not of one another.
    """
    check_folder(weights)
    if adapter is not None:
        check_adapter(adapter)
        check_base(adapter, weights)
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if adapter is not None:
            from peft import PeftModel
    except ImportError as error:
        raise ModelError(
            f"merging needs {error.name}", remedy="install it with `pip install 'understudy[local]'`"
        ) from error
    leave_a_core()
    hush()
    try:
        tokenizer = AutoTokenizer.from_pretrained(words, local_files_only=True)
        with LOADING:
            model = AutoModelForCausalLM.from_pretrained(
                weights, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"cannot be loaded: {error}", where=str(weights)) from error
    check_tokenizer(tokenizer, str(words))
    stored = dtype or _stored(weights)
    if adapter is not None:
        try:
            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
        except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
            raise ModelError(f"cannot be merged: {error}", where=str(adapter)) from error
    model.to(getattr(torch, stored)).save_pretrained(out)
    tokenizer.save_pretrained(out)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    text, templated = modelfile(tokenizer, _stops(tokenizer, model), context)
    (out / "Modelfile").write_text(text, encoding="utf-8")
    return stored, templated


def _stored(weights: Path) -> str:
    """The dtype that a model's config names."""
    from transformers import AutoConfig

    named = str(AutoConfig.from_pretrained(weights, local_files_only=True).dtype or "float32").removeprefix("torch.")
    return named if named in DTYPES else "float32"


def _stops(tokenizer: Any, model: Any) -> list[str]:
    """The texts of the tokens that end a reply."""
    said = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])} - {None}
    return [tokenizer.decode([end]) for end in sorted(ends)]
