"""Reading a recipe from its YAML file, and saying of what is wrong where it stands and what to do.

An unknown key, a wrong type or a senseless value is an error that names file, line and key, before anything runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from understudy.errors import RecipeError
from understudy.recipe import Recipe
from understudy.sms import SMSpec
from understudy.yaml_file import backends, explain, models, parse


def load_recipe(path: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read and check a recipe file.

    Args:
        path: the YAML file.
        overrides: `key.sub=value` pairs, the value in YAML; they win over the file.

    Raises:
        RecipeError: naming file, line and key, and the nearest valid key for a typo.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise RecipeError(
            "no such recipe", where=str(path), remedy="check the path, or write one with `understudy init`"
        ) from error
    except IsADirectoryError as error:
        raise RecipeError("is a folder", where=str(path), expected="a recipe, one YAML file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8 at byte {error.start}", where=str(path), remedy="save it as UTF-8") from error
    node, data = parse(path, text, "keys such as `name:`, `seeds:`, `accept:`", RecipeError)
    for override in overrides:
        _apply(data, override)
    try:
        return Recipe.model_validate(data).at(path.parent.resolve())
    except ValidationError as error:
        raise explain(path, node, error, Recipe, RecipeError, _BACKENDS, overrides) from error


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override}", expected="key=value, such as accept=100 or sm.batch_size=8")
    *parents, last = key.split(".")
    for parent in parents:
        child = data.setdefault(parent, {})
        if not isinstance(child, dict):
            raise RecipeError(f"--set {override}", expected=f"`{parent}` to be a section")
        data = child
    try:
        data[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"not valid YAML: {value!r}", where=f"--set {override}") from error


# The tags that pydantic puts into the place of an error in an SM's section.
_BACKENDS = frozenset(tag for model in models(SMSpec) for tag in backends(model))
