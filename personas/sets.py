"""Reading persona sets.

name: everyday
description: People of many trades and ages.
license: Apache-2.0
personas:
  - A ward nurse who explains test results to worried families.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from understudy.errors import PersonaError
from understudy.nouns import Persona, address

_KEYS = {"name", "description", "license", "personas"}


@dataclass(frozen=True, slots=True)
class PersonaSet:
    """A named set of personas."""

    name: str
    description: str
    license: str
    personas: tuple[Persona, ...]

    @property
    def version(self) -> str:
        """Hash of the members in their order."""
        return address([persona.id for persona in self.personas])


def shipped_sets() -> list[str]:
    """Names of the sets that come with the package."""
    return sorted(path.stem for path in _home().glob("*.yaml"))


def load_set(name: str, folder: Path = Path()) -> PersonaSet:
    """A shipped set by name, or any set by the path of its file (relative to `folder`).

    Raises:
        PersonaError: naming file and line.
    """
    path = _home() / f"{name}.yaml"
    if not path.is_file():
        path = folder / name
    if not path.is_file():
        near = difflib.get_close_matches(name, shipped_sets(), n=1)
        raise PersonaError(
            f"no persona set `{name}`",
            expected=f"one of {', '.join(shipped_sets())}, or the path of a YAML set",
            remedy=f"did you mean `{near[0]}`?" if near else "check `personas.set` in the recipe",
        )
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise PersonaError(f"not UTF-8 at byte {error.start}", where=str(path)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PersonaError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from error
    except yaml.YAMLError as error:
        raise PersonaError(f"not valid YAML: {error}", where=str(path)) from error
    if not isinstance(node, yaml.MappingNode):
        raise PersonaError("not a mapping", where=f"{path}:1", expected=f"keys {', '.join(sorted(_KEYS))}")
    fields: dict[str, tuple[int, yaml.Node]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        key_name = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
        if key_name not in _KEYS:
            raise PersonaError("unknown key", where=f"{path}:{line}: {key_name}", expected=", ".join(sorted(_KEYS)))
        if key_name in fields:
            raise PersonaError(f"key `{key_name}` stands twice", where=f"{path}:{line}", remedy="remove one")
        fields[key_name] = (line, value)
    line, members = fields.get("personas", (1, None))
    if not isinstance(members, yaml.SequenceNode) or not members.value:
        raise PersonaError("no personas", where=f"{path}:{line}: personas", expected="a list of sentences")
    personas: dict[str, Persona] = {}
    for item in members.value:
        where = f"{path}:{item.start_mark.line + 1}"
        if not isinstance(item, yaml.ScalarNode) or item.tag != "tag:yaml.org,2002:str" or not item.value.strip():
            raise PersonaError("not a sentence", where=where, expected="one or two sentences about a person")
        persona = Persona.of(" ".join(item.value.split()))
        if persona.id in personas:
            raise PersonaError("stands twice", where=where, remedy="remove one")
        personas[persona.id] = persona

    def text(key: str, default: str) -> str:
        return str(fields[key][1].value) if key in fields else default

    return PersonaSet(
        text("name", path.stem), text("description", ""), text("license", "unknown"), tuple(personas.values())
    )


def _home() -> Path:
    return Path(str(files("understudy.personas"))) / "sets"
