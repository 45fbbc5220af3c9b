"""The files that some trainers want beside the data: LLaMA-Factory's `dataset_info.json`, Axolotl's configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import UserError
from understudy.recipe import Recipe

DATASET_INFO = "dataset_info.json"
AXOLOTL = "axolotl.yaml"
_EMBEDDED = "HuggingFaceTB/SmolLM2-135M-Instruct"


def register(data: Path, columns: list[str]) -> Path:
    """Enter a data file into the `dataset_info.json` beside it, under its name without suffix; other entries stay.

    All columns and tags are named: LLaMA-Factory forgets its defaults for those that are not.

    Raises:
        UserError: when the file that is there is not such a register.
    """
    path = data.with_name(DATASET_INFO)
    known: Any = {}
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"not valid JSON: {error}", where=str(path), remedy="mend it, or export to another folder"
            ) from error
        if not isinstance(known, dict):
            raise UserError(f"a JSON {type(known).__name__}", where=str(path), expected="data sets by name")
    ranking = "chosen" in columns
    named = {"messages": "conversations"} | {name: name for name in ("tools", "chosen", "rejected") if name in columns}
    tags = {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "observation_tag": "observation",
        "function_tag": "function_call",
        "system_tag": "system",
    }
    entry: dict[str, Any] = {"file_name": data.name, "formatting": "sharegpt"}
    if ranking:
        entry["ranking"] = True
    _write(
        path, json.dumps(known | {data.stem: entry | {"columns": named, "tags": tags}}, indent=2, ensure_ascii=False)
    )
    return path


def configure(data: Path, recipe: Recipe) -> Path | None:
    """Write an `axolotl.yaml` to start from beside a data file; None if there is one, which is left as it is."""
    path = data.with_name(AXOLOTL)
    if path.exists():
        return None
    base = recipe.training.base
    config = {
        "base_model": _EMBEDDED if base == "embedded" else str(recipe.path(base)),
        "datasets": [
            {
                "path": str(data.absolute()),
                "ds_type": "json",
                "type": "chat_template",
                "field_messages": "messages",
                "message_property_mappings": {"role": "role", "content": "content"},
                "roles_to_train": ["assistant"],
            }
        ],
        "output_dir": str(data.with_name("axolotl-out").absolute()),
        "adapter": "lora",
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_target_linear": True,
        "sequence_len": 2048,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "num_epochs": 3,
        "learning_rate": 0.0002,
        "optimizer": "adamw_torch",
        "lr_scheduler": "cosine",
    }
    _write(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    return path


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    os.replace(temporary, path)
