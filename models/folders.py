"""Folders of weights: what must be in one, and a hash that names what is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from understudy.errors import ModelError


def check_folder(path: Path) -> None:
    """That a folder holds a model in safetensors.

    Raises:
        ModelError: naming what is missing.
    """
    if not (path / "config.json").is_file():
        raise ModelError(
            "no model here" if path.exists() else "no such folder",
            where=str(path),
            expected="a folder with config.json, *.safetensors and a tokenizer",
            remedy="check the path in the recipe; models are never downloaded for you",
        )
    if not any(path.glob("*.safetensors")):
        raise ModelError(
            "no safetensors weights",
            where=str(path),
            expected="*.safetensors (pickled weights are not read)",
            remedy="convert the model with `save_pretrained`",
        )


def fingerprint(path: Path) -> str:
    """A hash that names a model's weights and tokenizer without reading gigabytes.

    It covers config and tokenizer whole, and of each weight file its name, size, first and last mebibyte.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "chat_template.jinja",
        "adapter_config.json",
    ):
        if (path / name).is_file():
            digest.update(name.encode() + (path / name).read_bytes())
    for file in sorted(path.glob("*.safetensors")):
        size = file.stat().st_size
        with open(file, "rb") as weights:
            digest.update(f"{file.name}{size}".encode() + weights.read(2**20))
            weights.seek(max(0, size - 2**20))
            digest.update(weights.read())
    return digest.hexdigest()


def check_adapter(path: Path) -> None:
    """That a folder holds a LoRA adapter in safetensors.

    Raises:
        ModelError: naming what is missing.
    """
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (path / name).is_file():
            raise ModelError(
                f"no {name} here" if path.exists() else "no such folder",
                where=str(path),
                expected="a LoRA adapter as peft's `save_pretrained` or `understudy train` writes it",
                remedy="check `adapters` in the recipe",
            )


def rank(path: Path) -> int:
    """The rank of a LoRA adapter.

    Raises:
        ModelError: when its config does not say.
    """
    config = path / "adapter_config.json"
    try:
        return int(json.loads(config.read_text())["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError("does not say which rank it has", where=str(config), expected="a field `r`") from error
