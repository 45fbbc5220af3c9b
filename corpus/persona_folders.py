"""Persona sets as folders of Parquet with a card, as `datasets` and the Hugging Face Hub read them; and other people's.

Persona Hub's published JSONL (arXiv 2406.20094) and the Parquet files of Nemotron-Personas are taken as they are: their
columns are known here by name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from huggingface_hub import DatasetCardData

from understudy.corpus import rows, tables
from understudy.corpus.persona_sheets import CARD
from understudy.corpus.storage import storage_errors
from understudy.errors import PersonaError, SeedError
from understudy.nouns import ATTRIBUTES, Persona

MEMBERS = "personas.parquet"
_ROW = pa.schema(
    [
        ("text", pa.string()),
        *((name, pa.string()) for name in ATTRIBUTES),
        ("origin", pa.string()),
        ("parent", pa.string()),
        ("relation", pa.string()),
        ("hop", pa.int32()),
        ("source", pa.string()),
    ]
)
# Where others keep what we call by the name on the left: the first of the columns that a file has.
_COLUMNS = {
    "text": ("text", "persona", "input persona"),
    "role": ("role", "occupation"),
    "domain": ("domain", "general domain (top 1 percent)"),
    "expertise": ("expertise", "specific domain (top 1 percent)", "skills_and_expertise_list"),
    "source": ("source", "uuid"),
}
_PLACE = ("city", "district", "state", "province", "country")
_AT_ONCE = 10_000


def read(folder: Path) -> tuple[dict[str, str], tuple[Persona, ...]]:
    """The card and the members of a set that `write` wrote.

    Raises:
        PersonaError: naming file and row.
    """
    if not (folder / MEMBERS).is_file() and (folder / "ledger.db").is_file():
        raise PersonaError(
            "holds a run and no persona set",
            where=str(folder),
            remedy="if it makes a set, give its command again until it has ended; if it makes a corpus, name a set",
        )
    members, told = take(folder / MEMBERS)
    if twins := told["twins"] + told["empty"]:
        raise PersonaError(
            f"{twins} personas stand twice or are empty",
            where=str(folder / MEMBERS),
            remedy="`understudy personas import` leaves them out",
        )
    return _card(folder / "README.md"), members


def take(path: Path) -> tuple[tuple[Persona, ...], Counter[str]]:
    """The personas of a Parquet, JSONL or CSV file of anybody's, and how many rows were `twins` or `empty`.

    Raises:
        PersonaError: when it cannot be read, or has no column of texts.
    """
    found: dict[str, Persona] = {}
    told: Counter[str] = Counter()
    columns: dict[str, str] | None = None
    for place, row in _rows(path):
        if columns is None:
            columns = _known(path, row)
        text = " ".join(str(row.get(columns["text"]) or "").split())
        persona = Persona.of(text, **_more(row, columns)) if text else None
        told["twins" if persona and persona.id in found else "personas" if persona else "empty"] += 1
        if persona is not None:
            if persona.hop < 0 or persona.origin not in ("text", "relation"):
                raise PersonaError(f"origin {persona.origin!r}, hop {persona.hop}", where=f"{path}: {place}")
            found.setdefault(persona.id, persona)
    if not found:
        raise PersonaError("no personas", where=str(path), expected="one row for each persona")
    return tuple(found.values()), told


def write(
    folder: Path, card: dict[str, str], personas: Sequence[Persona], version: str, more: Card | None = None
) -> None:
    """Write a set that `read` reads, and `datasets.load_dataset` as well; into a run folder with `more` in its card."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    batches = (personas[start : start + _AT_ONCE] for start in range(0, len(personas), _AT_ONCE))
    rows.write_groups(folder, MEMBERS, _ROW, map(_table, batches))
    more = more or Card()
    front = DatasetCardData(
        license=card["license"].lower(),
        pretty_name=card["name"],
        tags=["personas", "understudy"],
        configs=[{"config_name": "default", "data_files": MEMBERS, "default": True}, *more.configs],
        understudy=card | {"version": version, "personas": len(personas)},
    ).to_yaml()
    about = [f"# {card['name']}", card["description"], f"{len(personas):,} personas."]
    about += [f"{label}: {card[key]}." for key, label in _SAID.items() if card[key]]
    text = f"---\n{front}\n---\n" + "\n\n".join(line for line in [*about, *more.sections] if line) + "\n"
    with storage_errors(folder):
        rows.write_durably(folder / ".README.md.tmp", folder / "README.md", text.encode())


@dataclass(frozen=True, slots=True)
class Card:
    """What the card of a set says beside the set itself."""

    sections: tuple[str, ...] = ()
    configs: tuple[dict[str, Any], ...] = ()


def _table(personas: Sequence[Persona]) -> pa.Table:
    said = [{name: getattr(one, name, None) for name in _ROW.names} | one.attributes for one in personas]
    return pa.Table.from_pylist(said, schema=_ROW)


_SAID = {"domain": "Domain", "made": "How it was made", "sm": "Written by", "license": "Licence"}


def _rows(path: Path) -> Iterator[tuple[str, tables.Row]]:
    if not path.is_file():
        raise PersonaError("no such file", where=str(path), expected="personas as .parquet, .jsonl or .csv")
    if path.suffix not in {".parquet", ".arrow", ".jsonl", ".ndjson", ".csv", ".tsv"}:
        raise PersonaError("not a table", where=str(path), expected="personas as .parquet, .jsonl or .csv")
    try:
        if path.suffix in {".parquet", ".arrow"}:
            yield from tables.rows(path)
        else:
            with open(path, encoding="utf-8", newline="") as lines:
                yield from tables.rows(path, lines)
    except SeedError as error:
        raise PersonaError(
            error.message, where=error.where, expected=error.expected, remedy="write it anew, and import it again"
        ) from error
    except UnicodeDecodeError as error:
        raise PersonaError(f"not UTF-8 at byte {error.start}", where=str(path)) from error


def _known(path: Path, row: tables.Row) -> dict[str, str]:
    """Which column holds what."""
    found = {name: column for name, able in _COLUMNS.items() for column in able[::-1] if column in row}
    if "text" not in found:
        raise PersonaError(
            f"has the columns {', '.join(map(str, row))}",
            where=str(path),
            expected=f"one that is called {', '.join(_COLUMNS['text'][:-1])} or {_COLUMNS['text'][-1]}",
        )
    return found


def _more(row: tables.Row, columns: dict[str, str]) -> dict[str, Any]:
    said: dict[str, str] = {
        name: _words(row.get(columns[name])) for name in _COLUMNS if name in ATTRIBUTES and name in columns
    }
    said["place"] = _words(row.get("place")) or ", ".join(filter(None, (_words(row.get(part)) for part in _PLACE)))
    said["age"] = _band(row.get("age"))
    return {
        "attributes": {name: said[name] for name in ATTRIBUTES if said.get(name)},
        "source": _words(row.get(columns["source"])) or None if "source" in columns else None,
        "origin": row.get("origin") or "text",
        "parent": row.get("parent"),
        "relation": row.get("relation"),
        "hop": row.get("hop") or 0,
    }


def _words(value: object) -> str:
    """A value in words; of a list, its members."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    if text.startswith("["):  # a list that was written as text
        text = re.sub(r"[\[\]'\"]", "", text)
    return "" if text.lower() == "none" else " ".join(text.replace("_", " ").split())


def _band(age: object) -> str:
    """Years as a band of ten; a band as it is."""
    text = str(age or "").strip()
    return f"{int(text) // 10 * 10}-{int(text) // 10 * 10 + 9}" if text.isdecimal() else text


def _card(path: Path) -> dict[str, str]:
    """What the front matter says under `understudy:`; a folder of somebody else's may have none."""
    try:
        head = path.read_text(encoding="utf-8").split("---\n", 2)
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise PersonaError(f"not UTF-8 at byte {error.start}", where=str(path)) from error
    try:
        front = yaml.safe_load(head[1]) if len(head) == 3 and not head[0] else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PersonaError(f"front matter is not YAML: {error}", where=str(path)) from error
    said = front.get("understudy") if isinstance(front, dict) else None
    return {key: str(said[key]) for key in CARD if key in said} if isinstance(said, dict) else {}
