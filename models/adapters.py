"""LoRA adapters on a model of this process, several of them in one batch.

peft adds to the output of a layer, row by row, what the row's own adapter says (`adapter_names` of its layers). The
names are handed to the layers before each forward pass; nothing is swapped in or merged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import ModelError
from understudy.models.folders import check_adapter, fingerprint

# What peft calls a row that goes through none.
_NONE = "__base__"
_LINEAGE = "understudy.json"
# Kinds of adapter that change more than what their layers add, or that peft cannot mix in one batch.
_ALONE = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules beside the adapter (`modules_to_save`)",
    "trainable_token_indices": "trained tokens (`trainable_token_indices`)",
    "target_parameters": "adapted parameters (`target_parameters`)",
    "layer_replication": "repeated layers (`layer_replication`)",
    "alora_invocation_tokens": "aLoRA",
    "use_bdlora": "BD-LoRA",
    "arrow_config": "Arrow",
    "velora_config": "VeLoRA",
    "kasa_config": "KaSA",
}


def check_adapters(folders: Mapping[str, Path], base: Path) -> None:
    """That adapters were trained on this base, and can share a batch with others; no weights are read for it.

    Args:
        folders: by name.
        base: the folder of the model they are to adapt.

    Raises:
        ModelError: naming the folder and what is wrong with it.
    """
    for folder in folders.values():
        check_adapter(folder)
        config = _read(folder / "adapter_config.json")
        if (kind := config.get("peft_type")) != "LORA":
            raise _apart(folder, f"is of type {kind}", "LORA")
        if (bias := config.get("bias", "none")) != "none":
            raise _apart(folder, f"changes the base's biases (`bias: {bias}`)", "`bias: none`")
        if alone := next((name for key, name in _ALONE.items() if config.get(key)), None):
            raise _apart(folder, f"has {alone}", "a plain LoRA adapter")
        check_base(folder, base)


def check_base(folder: Path, base: Path) -> None:
    """That an adapter was trained on this base.

    It goes by the lineage that `understudy train` writes, else by the folder that peft noted if it is still there.

    Raises:
        ModelError: naming the other base.
    """
    known, trained_on = fingerprint(base), _read(folder / "adapter_config.json").get("base_model_name_or_path")
    if (folder / _LINEAGE).is_file():
        name = str(_read(folder / _LINEAGE).get("base"))
        other = name.rpartition("@")[2]
    elif isinstance(trained_on, str) and (Path(trained_on) / "config.json").is_file():
        name, other = trained_on, fingerprint(Path(trained_on))
    else:
        return  # a name on the Hub says nothing of the files; whether the shapes fit shows when they are loaded
    if other != known:
        raise ModelError(
            f"was trained on {name}",
            where=str(folder),
            expected=f"an adapter of {base} (fingerprint {known})",
            remedy="name the base that it was trained on, or train it on this one",
        )


def _apart(folder: Path, what: str, expected: str) -> ModelError:
    return ModelError(
        f"{what}, which cannot share a batch with other adapters",
        where=str(folder),
        expected=expected,
        remedy="merge it into its base (`understudy merge`, or peft's `merge_and_unload`) and use the merged folder",
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"damaged: {error}", where=str(file)) from error
    if not isinstance(found, dict):
        raise ModelError("damaged: not an object", where=str(file))
    return found


class Adapters:
    """Adapters on a loaded model. All forward passes happen on one thread, and `speak` comes before each."""

    def __init__(self, model: Any, folders: Mapping[str, Path]) -> None:
        from peft import LoraConfig, PeftModel
        from peft.tuners.lora import LoraLayer
        from safetensors import SafetensorError

        # Names of ours may hold a dot, those of torch's modules not.
        self._names = {name: f"adapter{place}" for place, name in enumerate(folders)}
        self._rows: list[str] = []
        wrapped: Any = None
        for name, folder in folders.items():
            config = LoraConfig.from_pretrained(str(folder))
            config.inference_mode = True
            try:
                if wrapped is None:
                    wrapped = PeftModel(model, config, self._names[name])
                else:
                    wrapped.add_adapter(self._names[name], config)
                found = wrapped.load_adapter(str(folder), self._names[name], torch_device=str(model.device))
            except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
                raise ModelError(f"does not fit the base: {error}", where=str(folder)) from error
            if wrong := [*found.missing_keys, *found.unexpected_keys]:
                raise ModelError(f"does not fit the base: {len(wrong)} weights, such as {wrong[0]}", where=str(folder))
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module.register_forward_pre_hook(self._told, with_kwargs=True)
        wrapped.eval()

    def speak(self, rows: Sequence[str | None]) -> None:
        """Say which adapter each row of the next forward passes goes through; None for the base alone."""
        self._rows = [_NONE if name is None else self._names[name] for name in rows]

    def _told(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return args, {**kwargs, "adapter_names": self._rows}
