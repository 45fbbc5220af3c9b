"""Benchmarks as texts: what a corpus must not have learned from.

A row of a table is an item, and so is a paragraph of a text file. The texts of a row are its text columns, also those
inside lists and records (the choices of a question, the messages of a conversation).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.corpus import readers, tables
from understudy.errors import SeedError, UserError

_TEXT = frozenset({".txt", ".md"})
_READ = readers.TABLES | _TEXT
_BLANK = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark, say."""

    place: str
    """File, and line, row or paragraph."""
    texts: tuple[str, ...]


def items(path: Path, columns: Sequence[str] = ()) -> Iterator[Item]:
    """The items of a file, or of all files in a folder that can be read, in order of their names.

    Args:
        path: .jsonl, .csv, .tsv, .parquet, .arrow, .txt or .md, or a folder of these, also one of `datasets`.
        columns: of tables, the columns that count; none: all that hold text.

    Raises:
        UserError: when there is no such file, nothing to read in it, or a table has none of the columns.
        SeedError: when a file is damaged.
    """
    found = False
    for file in _files(path):
        name = file.relative_to(path.parent).as_posix()
        for item in _paragraphs(file, name) if file.suffix.lower() in _TEXT else _rows(file, name, columns):
            found = found or any(item.texts)
            yield item
    if not found:
        raise UserError(
            "holds no text to compare with", where=str(path), expected="a benchmark's questions or documents",
            remedy="name the columns that hold text with --column" if not columns else "check --column",
        )  # fmt: skip


def _files(path: Path) -> list[Path]:
    kinds = ", ".join(sorted(_READ))
    if not path.exists():
        raise UserError(
            "no such benchmark", where=str(path), expected=f"a file ({kinds}), or a folder of these",
            remedy="check --against; it is relative to where you are",
        )  # fmt: skip
    if path.is_file():
        if path.suffix.lower() not in _READ:
            raise UserError(
                "cannot be read as a benchmark", where=str(path), expected=kinds,
                remedy="convert it, or rename it if it is one of these",
            )  # fmt: skip
        return [path]
    if tables.is_dataset_folder(path):
        return tables.dataset_files(path)
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _READ and file.is_file())
    if not found:
        raise UserError("no file in it can be read as a benchmark", where=str(path), expected=kinds)
    return found


def _paragraphs(file: Path, name: str) -> Iterator[Item]:
    for number, text in enumerate(_BLANK.split(readers.plain_text(file)), start=1):
        if text.strip():
            yield Item(f"{name}:paragraph {number}", (text,))


def _rows(file: Path, name: str, columns: Sequence[str]) -> Iterator[Item]:
    for place, row in readers.table_rows(file):
        known = [column for column in columns if column in row]
        if columns and not known:
            raise UserError(
                f"has no column {' or '.join(f'`{column}`' for column in columns)}", where=f"{file}:{place}",
                expected=f"one of: {', '.join(map(str, row))}", remedy="check --column",
            )  # fmt: skip
        texts = tuple(text for column in (known or row) for text in _texts(row[column]))
        if not texts and any(isinstance(row[column], int | float) for column in known):
            raise SeedError(
                f"column {' and '.join(f'`{column}`' for column in known)} holds no text", where=f"{file}:{place}",
                expected="text, or lists or records of texts", remedy="check --column",
            )  # fmt: skip
        yield Item(f"{name}:{place}", texts)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
