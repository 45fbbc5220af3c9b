"""A persona set, and where it is kept: a YAML file for people to write, a folder of Parquet for many.

workshop.yaml             name, description, license, domain, made, sm, and the personas
hub/                      a Hugging Face dataset folder
├── README.md             the card: the same keys as front matter, under `understudy:`
└── personas.parquet      one row for each persona: text, lineage, attributes
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from understudy.corpus import persona_folders, persona_sheets
from understudy.errors import PersonaError
from understudy.nouns import Persona, address


@dataclass(frozen=True, slots=True)
class PersonaSet:
    """A named set of personas, with its card."""

    name: str
    description: str
    license: str
    personas: tuple[Persona, ...]
    domain: str = ""
    """What the people have to do with, such as `medicine`."""
    made: str = ""
    """How it was made."""
    sm: str = ""
    """The model that wrote it, if one did."""

    @property
    def version(self) -> str:
        """Hash of the members in their order."""
        return address([persona.id for persona in self.personas])

    @property
    def card(self) -> dict[str, str]:
        """What is said of the set as a whole."""
        return {key: getattr(self, key) for key in persona_sheets.CARD}

    def with_members(self, personas: Iterable[Persona], made: str) -> PersonaSet:
        """The same set with other members, and how that came about added to `made`."""
        card = self.card | {"made": f"{self.made}; {made}" if self.made else made}
        return PersonaSet(**card, personas=tuple(personas))


def shipped_sets() -> list[str]:
    """Names of the sets that come with the package."""
    return sorted(path.stem for path in _home().glob("*.yaml"))


def load_set(name: str, folder: Path = Path()) -> PersonaSet:
    """A shipped set by name, or any set by the path of its file or folder (relative to `folder`).

    Raises:
        PersonaError: naming file and line, or row.
    """
    path = _home() / f"{name}.yaml"
    if not path.is_file():
        path = folder / name
    if path.is_dir():
        card, members = persona_folders.read(path)
    elif path.is_file():
        card, members = persona_sheets.read(path)
    else:
        near = difflib.get_close_matches(name, shipped_sets(), n=1)
        raise PersonaError(
            f"no persona set `{name}`",
            expected=f"one of {', '.join(shipped_sets())}, or the path of a set: a YAML file, or a folder of Parquet",
            remedy=f"did you mean `{near[0]}`?" if near else "check `personas.set` in the recipe",
        )
    return PersonaSet(**{"name": path.stem, "description": "", "license": "unknown"} | card, personas=members)


def merged(sets: Sequence[PersonaSet], name: str) -> PersonaSet:
    """One set of all members, each where it stands first."""
    members = {persona.id: persona for one in reversed(sets) for persona in one.personas}
    order = dict.fromkeys(persona.id for one in sets for persona in one.personas)
    said = {key: ", ".join(dict.fromkeys(filter(None, (one.card[key] for one in sets)))) for key in ("domain", "sm")}
    licenses = " AND ".join(dict.fromkeys(one.license for one in sets))
    made = "merged of " + ", ".join(f"{one.name} ({one.version[:12]})" for one in sets)
    return PersonaSet(name, "", licenses, tuple(members[id] for id in order), made=made, **said)


def save_set(made: PersonaSet, path: Path) -> None:
    """Write a set: a YAML file if the path ends so, else a folder that `datasets` and the Hub can read.

    Raises:
        PersonaError: when something is there already.
        StorageError: when the disk is full.
    """
    check_free(path)
    if path.suffix in {".yaml", ".yml"}:
        persona_sheets.write(path, made.card, made.personas)
    else:
        persona_folders.write(path, made.card, made.personas, made.version)


def check_free(path: Path) -> None:
    """Make sure that a set can be written there without harm.

    Raises:
        PersonaError: when something is there already.
    """
    if path.exists():
        raise PersonaError("is there already", where=str(path), remedy="give another `--out`, or remove it")


def _home() -> Path:
    return Path(str(files("understudy.personas"))) / "sets"
