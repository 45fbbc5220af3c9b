"""Recipes that train on a file of rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def recipe_of(tmp_path: Path, tiny: Path) -> Callable[..., Path]:
    """Writes a recipe that trains on a file of rows, with the tiny base."""

    def write(rows: list[dict[str, Any]], **training: Any) -> Path:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        block = {"base": str(tiny), "data": ["rows.jsonl"], "steps": 6, "batch_size": 2, **training}
        body = {"name": "tiny", "seeds": [{"path": "none"}], "accept": 1, "training": block}
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(body))
        return path

    return write
