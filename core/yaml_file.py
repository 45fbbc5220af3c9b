"""YAML files that people write: what is wrong with one is told with its line, key and remedy.

An unknown key, a wrong type or a senseless value is an error before anything runs.
"""

from __future__ import annotations

import difflib
import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from understudy.errors import UserError


def parse(path: Path, text: str, expected: str, kind: type[UserError]) -> tuple[yaml.Node, dict[str, Any]]:
    """The nodes of a text, which know their lines, and its keys and values.

    Args:
        path: where it is from, for errors.
        text: the YAML.
        expected: what such a file holds, as an error says it.
        kind: of the errors.

    Raises:
        UserError: of that kind, for what is no mapping, has an alias, or the same key twice.
    """
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                # An alias can make a file of one kilobyte unfold to gigabytes; no file of ours needs one.
                raise kind(
                    f"YAML alias *{token.value}",
                    where=f"{path}:{token.start_mark.line + 1}",
                    expected="plain values",
                    remedy="write the value out",
                )
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise kind(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise kind(f"not valid YAML: {error}", where=str(path)) from error
    if node is None or not isinstance(data, dict):
        raise kind("empty, or not a mapping", where=f"{path}:1", expected=expected)
    _refuse_twins(path, node, kind)
    return node, data


def _refuse_twins(path: Path, node: yaml.Node, kind: type[UserError]) -> None:
    """YAML keeps the last of two equal keys in silence; here that is an error."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise kind(f"key `{key.value}` stands twice", where=f"{path}:{key.start_mark.line + 1}")
            seen.add(key.value)
            _refuse_twins(path, value, kind)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twins(path, value, kind)


def explain(
    path: Path,
    node: yaml.Node,
    error: ValidationError,
    model: type[BaseModel],
    kind: type[UserError],
    tags: frozenset[str] = frozenset(),
    overrides: tuple[str, ...] = (),
) -> UserError:
    """Turn the first pydantic error into one that names line, key and remedy.

    Args:
        path: the file.
        node: its nodes.
        error: what pydantic said of its values.
        model: what it was to be.
        kind: of the error that is returned.
        tags: what pydantic puts into the place of an error in a section of one kind of several.
        overrides: `key.sub=value` pairs that the command line put in place of the file's.
    """
    errors = error.errors()
    # A misspelt key is also a missing one; the typo is what helps.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    known = first.get("ctx", {})
    loc = (*first["loc"], *known.get("at", ()))
    line, keys = _locate(node, loc, tags)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in keys).lstrip(".")
    where = f"{path}:{line}: {key}" if key else f"{path}:{line}"
    for override in overrides:
        given = override.partition("=")[0]
        if key == given or key.startswith((f"{given}.", f"{given}[")):
            where = f"--set {override}"  # the command line had the last word on this key
    if first["type"] == "extra_forbidden":
        valid = sorted(_fields(model, loc[:-1]))
        near = difflib.get_close_matches(str(loc[-1]), valid, n=1, cutoff=0.5)
        return kind(
            "unknown key",
            where=where,
            expected=f"one of: {', '.join(valid)}",
            remedy=f"did you mean `{near[0]}`?" if near else "remove it",
        )
    if first["type"] == "missing":
        return kind("missing", where=where, remedy=f"add `{loc[-1]}:`")
    if first["type"] == "password":  # which is not to be shown
        return kind(first["msg"], where=where.partition("=")[0], remedy="name the key's variable in `api_key_env`")
    if first["type"] == "misplaced":
        return kind(f"got {known['got']!r}", where=where, expected=known["expected"])
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return kind(f"got {first['input']!r}", where=where, expected=message)


def _locate(node: yaml.Node | None, loc: tuple[int | str, ...], tags: frozenset[str]) -> tuple[int, list[int | str]]:
    """The line of the deepest node that `loc` reaches, and `loc` without what pydantic adds for unions and keys."""
    line = node.start_mark.line + 1 if node else 1
    keys: list[int | str] = []
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                # A whole number here is the place of the one voice that stands without a list around it.
                if part not in tags | {"[key]"} and not isinstance(part, int):
                    keys.append(part)
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        keys.append(part)
    return line, keys


def _fields(model: Any, loc: tuple[int | str, ...]) -> set[str]:
    """The keys that are valid in the section at `loc`."""
    a_name = False
    for part in loc:
        fields = getattr(model, "model_fields", {})
        if a_name:
            a_name = False
        elif part in fields:
            annotation = fields[str(part)].annotation
            a_name = get_origin(annotation) is dict
            able = models(annotation)
            model = able[0] if len(able) == 1 else able
        elif isinstance(model, list):
            model = next((one for one in model if part in backends(one)), model)
    return set(getattr(model, "model_fields", {}))


def backends(model: type[BaseModel]) -> tuple[Any, ...]:
    """The values of `backend` by which a model of several is chosen."""
    return get_args(model.model_fields["backend"].annotation)


def models(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models inside an annotation such as tuple[Source, ...] or A | B."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (tuple, dict, Union, types.UnionType, Annotated):
        return [model for arg in get_args(annotation) for model in models(arg)]
    return []
