"""How people may be related to each other: types of relation, as data (`relations.yaml`, or a file of the user's)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from understudy.corpus.persona_sheets import mapping
from understudy.errors import PersonaError

_EXPECTED = "names with how a sentence goes on, such as `colleague: works beside this person every day`"


def load_relations(path: Path | None = None) -> dict[str, str]:
    """The types of relation by name, in the order of their names; the shipped ones without a file.

    Raises:
        PersonaError: naming the file and the key.
    """
    path = path or Path(str(files("understudy.personas"))) / "relations.yaml"
    said = mapping(path, _EXPECTED)
    for name, words in said.items():
        if not isinstance(name, str) or not isinstance(words, str) or not words.strip():
            raise PersonaError(f"got {words!r}", where=f"{path}: {name}", expected=_EXPECTED)
    return {name: " ".join(said[name].split()) for name in sorted(said)}
