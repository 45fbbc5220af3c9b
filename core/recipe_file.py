"""Reading a recipe from its YAML file, and saying of what is wrong where it stands and what to do.

An unknown key, a wrong type or a senseless value is an error that names file, line and key, before anything runs.
"""

from __future__ import annotations

import difflib
import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from understudy.errors import RecipeError
from understudy.recipe import Recipe, SMSpec


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
    node, data = _parse(path, text)
    for override in overrides:
        _apply(data, override)
    try:
        return Recipe.model_validate(data).at(path.parent.resolve())
    except ValidationError as error:
        raise _explain(path, node, error, overrides) from error


def _parse(path: Path, text: str) -> tuple[yaml.Node, dict[str, Any]]:
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                # An alias can make a file of one kilobyte unfold to gigabytes; a recipe needs none.
                raise RecipeError(
                    f"YAML alias *{token.value}",
                    where=f"{path}:{token.start_mark.line + 1}",
                    expected="plain values",
                    remedy="write the value out",
                )
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"not valid YAML: {error}", where=str(path)) from error
    if node is None or not isinstance(data, dict):
        raise RecipeError(
            "empty, or not a mapping", where=f"{path}:1", expected="keys such as `name:`, `seeds:`, `accept:`"
        )
    _refuse_twins(path, node)
    return node, data


def _refuse_twins(path: Path, node: yaml.Node) -> None:
    """YAML keeps the last of two equal keys in silence; here that is an error."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise RecipeError(f"key `{key.value}` stands twice", where=f"{path}:{key.start_mark.line + 1}")
            seen.add(key.value)
            _refuse_twins(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twins(path, value)


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


def _explain(path: Path, node: yaml.Node, error: ValidationError, overrides: tuple[str, ...]) -> RecipeError:
    """Turn the first pydantic error into one that names line, key and remedy."""
    errors = error.errors()
    # A misspelt key is also a missing one; the typo is what helps.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    known = first.get("ctx", {})
    loc = (*first["loc"], *known.get("at", ()))
    line, keys = _locate(node, loc)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in keys).lstrip(".")
    where = f"{path}:{line}: {key}" if key else f"{path}:{line}"
    for override in overrides:
        given = override.partition("=")[0]
        if key == given or key.startswith((f"{given}.", f"{given}[")):
            where = f"--set {override}"  # the command line had the last word on this key
    if first["type"] == "extra_forbidden":
        valid = sorted(_fields(loc[:-1]))
        near = difflib.get_close_matches(str(loc[-1]), valid, n=1, cutoff=0.5)
        return RecipeError(
            "unknown key",
            where=where,
            expected=f"one of: {', '.join(valid)}",
            remedy=f"did you mean `{near[0]}`?" if near else "remove it",
        )
    if first["type"] == "missing":
        return RecipeError("missing", where=where, remedy=f"add `{loc[-1]}:`")
    if first["type"] == "password":  # which is not to be shown
        return RecipeError(
            first["msg"], where=where.partition("=")[0], remedy="name the key's variable in `api_key_env`"
        )
    if first["type"] == "misplaced":
        return RecipeError(f"got {known['got']!r}", where=where, expected=known["expected"])
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return RecipeError(f"got {first['input']!r}", where=where, expected=message)


def _locate(node: yaml.Node | None, loc: tuple[int | str, ...]) -> tuple[int, list[int | str]]:
    """The line of the deepest node that `loc` reaches, and `loc` without what pydantic adds for unions and keys."""
    line = node.start_mark.line + 1 if node else 1
    keys: list[int | str] = []
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                # A whole number here is the place of the one voice that stands without a list around it.
                if part not in _BACKENDS | {"[key]"} and not isinstance(part, int):
                    keys.append(part)
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        keys.append(part)
    return line, keys


def _fields(loc: tuple[int | str, ...]) -> set[str]:
    """The keys that are valid in the section at `loc`."""
    model: Any = Recipe
    a_name = False
    for part in loc:
        fields = getattr(model, "model_fields", {})
        if a_name:
            a_name = False
        elif part in fields:
            annotation = fields[str(part)].annotation
            a_name = get_origin(annotation) is dict
            able = _models(annotation)
            model = able[0] if len(able) == 1 else able
        elif isinstance(model, list):
            model = next((one for one in model if part in _backend(one)), model)
    return set(getattr(model, "model_fields", {}))


def _backend(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["backend"].annotation)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models inside an annotation such as tuple[Source, ...] or A | B."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (tuple, dict, Union, types.UnionType, Annotated):
        return [model for arg in get_args(annotation) for model in _models(arg)]
    return []


# The tags that pydantic puts into the place of an error in an SM's section.
_BACKENDS = frozenset(tag for model in _models(SMSpec) for tag in _backend(model))
