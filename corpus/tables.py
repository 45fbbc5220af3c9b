"""Tables as rows: CSV, JSONL, Parquet and Hugging Face dataset folders.

Each reader yields `(place, row)`, the place being a line or row number for error messages and lineage.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from understudy.corpus import contained
from understudy.errors import SeedError

Row = dict[str, Any]


def rows(path: Path, lines: Iterable[str] = (), names: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """The rows of one table file.

    Args:
        path: the file.
        lines: the content of .csv and .jsonl, each line with its line break.
        names: of the columns of a .csv whose first line is a row already.

    Raises:
        SeedError: naming file, line and column.
    """
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv"}:
        yield from _csv(path, lines, "\t" if suffix == ".tsv" else ",", list(names) or None)
    elif suffix in {".jsonl", ".ndjson"}:
        yield from _jsonl(path, lines)
    else:
        yield from ((f"row {number}", row) for number, row in enumerate(contained.read(path), start=1))


def _csv(path: Path, lines: Iterable[str], delimiter: str, header: list[str] | None) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(2**31 - 1)  # a document may stand in one field
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(path, reader.line_num, header)
                continue
            if len(cells) != len(header):
                raise SeedError(
                    f"row has {len(cells)} fields, the header has {len(header)}",
                    where=f"{path}:{reader.line_num}",
                    expected=f"one field each for {', '.join(header)}",
                    remedy="quote fields that hold the delimiter, or fill the missing ones",
                )
            yield str(reader.line_num), dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise SeedError(f"not valid CSV: {error}", where=f"{path}:{reader.line_num}") from error


def _check_header(path: Path, line: int, header: list[str]) -> None:
    twins = {name for name in header if header.count(name) > 1}
    if twins or "" in header:
        raise SeedError(
            f"column names are {'repeated: ' + ', '.join(sorted(twins)) if twins - {''} else 'missing'}",
            where=f"{path}:{line}",
            expected="a first line with a name of its own for each column",
        )
    if all(_is_number(name) for name in header):
        raise SeedError(
            "the first line holds numbers only, so the file seems to have no header",
            where=f"{path}:{line}",
            expected="column names",
            remedy="add a first line that names the columns, or name them in the recipe (`seeds[0].columns`)",
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _jsonl(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate((line.rstrip("\n") for line in lines), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
            json.dumps(row, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise SeedError(f"not valid JSON: {error}", where=f"{path}:{number}") from error
        if not isinstance(row, dict):
            raise SeedError(
                f"a JSON {type(row).__name__}", where=f"{path}:{number}", expected="one JSON object per line"
            )
        yield str(number), row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def is_dataset_folder(path: Path) -> bool:
    """Whether a folder was written by `datasets` (`save_to_disk`) or is laid out like a Hub dataset."""
    return path.is_dir() and (
        any((path / name).is_file() for name in ("dataset_dict.json", "state.json", "dataset_info.json"))
        or any((path / "data").glob("*.parquet"))
    )


def dataset_files(path: Path) -> list[Path]:
    """The Arrow and Parquet files of a dataset folder."""
    if any((path / "data").glob("*.parquet")):
        return sorted((path / "data").glob("*.parquet"))
    return sorted(p for p in path.rglob("*") if p.suffix in {".arrow", ".parquet"} and not p.name.startswith("cache-"))
