"""Persona sets as YAML, for people to read and write.

name: everyday
description: People of many trades and ages.
license: Apache-2.0
personas:
  - A ward nurse who explains test results to worried families.
  - text: A night pharmacist who answers the phone for three small hospitals.
    role: pharmacist
    place: Porto
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from understudy.corpus.storage import storage_errors
from understudy.errors import PersonaError
from understudy.nouns import ATTRIBUTES, Persona

CARD = ("name", "description", "license", "domain", "made", "sm")
_LINEAGE = ("origin", "parent", "relation", "hop", "source")
_MEMBER = ("text", *ATTRIBUTES, *_LINEAGE)


def read(path: Path) -> tuple[dict[str, str], tuple[Persona, ...]]:
    """The card and the members.

    Raises:
        PersonaError: naming file and line.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise PersonaError(f"not UTF-8 at byte {error.start}", where=str(path)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PersonaError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise PersonaError(f"not valid YAML: {error}", where=str(path)) from error
    keys = (*CARD, "personas")
    if not isinstance(node, yaml.MappingNode):
        raise PersonaError("not a mapping", where=f"{path}:1", expected=f"keys {', '.join(keys)}")
    fields = _fields(path, node, keys)
    line, members = fields.pop("personas", (1, None))
    if not isinstance(members, yaml.SequenceNode) or not members.value:
        raise PersonaError("no personas", where=f"{path}:{line}: personas", expected="a list of sentences")
    personas: dict[str, Persona] = {}
    for item in members.value:
        persona = _member(path, item)
        if persona.id in personas:
            raise PersonaError("stands twice", where=f"{path}:{item.start_mark.line + 1}", remedy="remove one")
        personas[persona.id] = persona
    return {key: _word(path, line, key, value) for key, (line, value) in fields.items()}, tuple(personas.values())


def mapping(path: Path, expected: str) -> dict[Any, Any]:
    """A small YAML file that holds one mapping, and something in it.

    Raises:
        PersonaError: saying what was expected.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise PersonaError("no such file", where=str(path), expected=expected) from error
    except UnicodeDecodeError as error:
        raise PersonaError(f"not UTF-8 at byte {error.start}", where=str(path)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PersonaError(f"not valid YAML: {error}", where=str(path)) from error
    if not isinstance(said, dict) or not said:
        raise PersonaError("not a mapping", where=str(path), expected=expected)
    return said


def write(path: Path, card: dict[str, str], personas: Iterable[Persona]) -> None:
    """Write a set that `read` reads."""
    members: list[Any] = []
    for persona in personas:
        more: dict[str, Any] = {**persona.attributes, **{key: getattr(persona, key) for key in _LINEAGE}}
        more = {key: value for key, value in more.items() if value and (key, value) != ("origin", "text")}
        members.append({"text": persona.text, **more} if more else persona.text)
    content = {key: value for key, value in card.items() if value} | {"personas": members}
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")


def _member(path: Path, item: yaml.Node) -> Persona:
    line = item.start_mark.line + 1
    if isinstance(item, yaml.MappingNode):
        fields = _fields(path, item, _MEMBER)
        if "text" not in fields:
            raise PersonaError("no text", where=f"{path}:{line}", expected="`text:` with one or two sentences")
        line, text = fields.pop("text")
    else:
        fields, text = {}, item
    if not isinstance(text, yaml.ScalarNode) or text.tag != "tag:yaml.org,2002:str" or not text.value.strip():
        raise PersonaError("not a sentence", where=f"{path}:{line}", expected="one or two sentences about a person")
    words = {key: _word(path, at, key, value) for key, (at, value) in fields.items()}
    attributes = {key: words.pop(key) for key in ATTRIBUTES if key in words}
    at = fields.get("hop", (line, None))[0]
    hop = words.pop("hop", "0")
    if not hop.isdecimal():
        raise PersonaError(f"got {hop!r}", where=f"{path}:{at}: hop", expected="a whole number from 0")
    origin = words.pop("origin", "text")
    if origin not in ("text", "relation"):
        raise PersonaError(
            f"got {origin!r}", where=f"{path}:{fields['origin'][0]}: origin", expected="text or relation"
        )
    kind = cast("Literal['text', 'relation']", origin)
    return Persona.of(" ".join(text.value.split()), kind, hop=int(hop), attributes=attributes, **words)


def _fields(path: Path, node: yaml.MappingNode, known: Iterable[str]) -> dict[str, tuple[int, yaml.Node]]:
    """The values of a mapping with the lines of their keys."""
    found: dict[str, tuple[int, yaml.Node]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
        if name not in known:
            raise PersonaError("unknown key", where=f"{path}:{line}: {name}", expected=", ".join(sorted(known)))
        if name in found:
            raise PersonaError(f"key `{name}` stands twice", where=f"{path}:{line}", remedy="remove one")
        found[name] = (line, value)
    return found


def _word(path: Path, line: int, key: str, value: yaml.Node) -> str:
    if not isinstance(value, yaml.ScalarNode):
        raise PersonaError("not a text", where=f"{path}:{line}: {key}", expected="a word or a sentence")
    return " ".join(str(value.value).split())
