"""From a recipe's `seeds:` to a stream of `Seed`s.

Reading is lazy, in a fixed order (file names sorted), and strict: a file that cannot be read in full stops
the run before it starts, with its name and line. Files of no known kind are reported, not dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.corpus import code, documents, persona_folders, persona_sheets, tables
from understudy.corpus.scratch import Database
from understudy.corpus.tokens import count_tokens
from understudy.errors import SeedError
from understudy.nouns import Seed, address
from understudy.recipe import Recipe, Source

DOCUMENTS = frozenset({".md", ".markdown", ".txt", ".rst", ".html", ".htm", ".pdf"})
TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow"})
_SHEETS = frozenset({".yaml", ".yml"})
_BINARY = frozenset({".pdf", ".parquet", ".arrow"})


def read_sources(recipe: Recipe) -> Iterator[tuple[int, Seed]]:
    """Every seed of a recipe, as (index of its source, seed).

    Raises:
        SeedError: for a missing, empty or unreadable source; for a column that is named and is in none.
    """
    if recipe.rows is not None:
        from understudy.corpus.table_sample import dealt, resolved  # which reads tables by this module

        yield from dealt(resolved(recipe))
        return
    occurrences = Occurrences()
    columns: set[str] = set()
    for index, source in enumerate(recipe.seeds):
        found = False
        for seed in read_source(source, recipe.path(source.path), occurrences):
            found = True
            columns.update(seed.meta.get("columns", ()))
            yield index, seed
        if not found:
            raise SeedError(
                "holds no seeds",
                where=str(recipe.path(source.path)),
                expected=f"text in files of these kinds: {', '.join(sorted(_suffixes(source)))}",
                remedy=f"check `seeds[{index}].path` and `kind` in the recipe",
            )
    names = recipe.inverted.names if recipe.inverted else ()
    if unknown := next((name for name in names if name not in columns), None):  # that some seeds lack it is no error
        raise SeedError(
            f"no column `{unknown}`", where="seeds", expected=f"one of: {', '.join(sorted(columns))}",
            remedy="check `inverted.names`",
        )  # fmt: skip


class Occurrences:
    """How often each content has come so far; kept on disk, as there may be millions."""

    def __init__(self) -> None:
        self._db = Database("CREATE TABLE seen(content TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")

    def enter(self, content: str) -> int:
        """Count the content with this address, and say how often it has come before."""
        count = "INSERT INTO seen VALUES (?, 0) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
        ((times,),) = self._db.read(count, (content,))
        return int(times)


def read_source(source: Source, path: Path, occurrences: Occurrences | None = None) -> Iterator[Seed]:
    """The seeds of one source; `occurrences` counts identical seeds across sources."""
    seen = occurrences or Occurrences()
    for file in files(source, path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        for kind, content, place, meta in _read(source, file):
            before = seen.enter(address(kind, content))
            yield Seed.of(kind, content, f"{name}:{place}", occurrence=before, license=source.license, **meta)


def files(source: Source, path: Path) -> list[Path]:
    """The files of a source that will be read, in order.

    Raises:
        SeedError: when the path does not exist.
    """
    if not path.exists():
        raise SeedError(
            "no such file or folder",
            where=str(path),
            expected="a file or folder with seeds",
            remedy="check `seeds: path:` (it is relative to the recipe's folder)",
        )
    if path.is_file():
        if path.suffix.lower() not in _suffixes(source):
            raise SeedError(
                f"not a file that `kind: {source.kind}` reads",
                where=str(path),
                expected=", ".join(sorted(_suffixes(source))),
                remedy="correct `kind` in the recipe, or rename the file",
            )
        return [path]
    if source.kind == "persona" and (members := path / persona_folders.MEMBERS).is_file():
        return [members]
    if tables.is_dataset_folder(path):
        return tables.dataset_files(path)
    return [file for file in _visible(path) if file.suffix.lower() in _suffixes(source)]


def unread(source: Source, path: Path) -> list[Path]:
    """The files of a source that no reader takes; shown by `--dry-run`."""
    if path.is_file() or tables.is_dataset_folder(path):
        return []
    return [file for file in _visible(path) if file.suffix.lower() not in _suffixes(source)]


def table_rows(file: Path, names: tuple[str, ...] = ()) -> Iterator[tuple[str, tables.Row]]:
    """The rows of a file of one of the kinds in `TABLES`, as (line or row, row).

    `names` are those of the columns of .csv and .tsv files without a header line.

    Raises:
        SeedError: when it cannot be read.
    """
    return tables.rows(file, _lines(file), names)


def plain_text(file: Path) -> str:
    """The whole of a text file.

    Raises:
        SeedError: when it is not UTF-8, or cannot be read.
    """
    return _decode(file)


def _visible(path: Path) -> list[Path]:
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )


def _suffixes(source: Source) -> frozenset[str]:
    by_kind = {"text": DOCUMENTS | (TABLES if source.text_field else frozenset()), "table": TABLES,
               "code": frozenset(code.LANGUAGES), "persona": _SHEETS | TABLES}  # fmt: skip
    return by_kind.get(source.kind, DOCUMENTS | TABLES | frozenset(code.LANGUAGES))


def _read(source: Source, file: Path) -> Iterator[tuple[Any, str, str, dict[str, Any]]]:
    """One file's seeds as (kind, content, place, meta)."""
    suffix = file.suffix.lower()
    if source.kind == "persona":
        members = persona_sheets.read(file)[1] if suffix in _SHEETS else persona_folders.take(file)[0]
        for number, persona in enumerate(members, start=1):
            yield (
                "persona",
                persona.text,
                str(number),
                {"persona": asdict(persona), "tokens": count_tokens(persona.text)},
            )
    elif suffix in TABLES:
        yield from (_row_documents if source.text_field else _row_groups)(source, file)
    elif suffix in code.LANGUAGES and source.kind != "text":
        language = code.LANGUAGES[suffix]
        for line, piece, symbol in code.pieces(_decode(file), language, source.chunk_tokens):
            yield "code", piece, str(line), {"language": language, "symbol": symbol, "tokens": count_tokens(piece)}
    else:
        text = None if suffix in _BINARY else _decode(file)
        for chunk in documents.chunks(file, text, source.chunk_tokens):
            yield "text", chunk.text, chunk.place, {"headings": list(chunk.headings), "tokens": chunk.tokens}


def _row_groups(source: Source, file: Path) -> Iterator[tuple[Any, str, str, dict[str, Any]]]:
    held: list[tuple[str, tables.Row]] = []

    def seed() -> tuple[Any, str, str, dict[str, Any]]:
        rows = [row for _, row in held]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        cells = [["" if row.get(name) is None else str(row[name]) for name in columns] for row in rows]
        content = documents.markdown_table(columns, cells)
        return "table", content, held[0][0], {"columns": columns, "rows": cells, "tokens": count_tokens(content)}

    for place, row in table_rows(file):
        held.append((place, row))
        if len(held) == source.rows_per_seed:
            yield seed()
            held = []
    if held:
        yield seed()


def _row_documents(source: Source, file: Path) -> Iterator[tuple[Any, str, str, dict[str, Any]]]:
    field = source.text_field or ""
    for place, row in table_rows(file):
        if not isinstance(row.get(field), str):
            raise SeedError(
                f"column `{field}` is {'missing' if field not in row else 'not text'}",
                where=f"{file}:{place}",
                expected=f"text; columns are {', '.join(map(str, row))}",
                remedy="check `text_field` in the recipe",
            )
        for chunk in documents.chunks(Path("row.md"), row[field], source.chunk_tokens):
            yield "text", chunk.text, place, {"headings": list(chunk.headings), "tokens": chunk.tokens}


def _lines(file: Path) -> Iterator[str]:
    """The lines of a table one by one: it may be larger than memory."""
    if file.suffix.lower() in _BINARY:
        return
    try:
        with open(file, encoding="utf-8-sig") as lines:
            for line in lines:
                if "\0" in line:
                    _decode(file)
                yield line
    except (UnicodeDecodeError, OSError):
        _decode(file)  # says where
        raise


def _decode(file: Path) -> str:
    try:
        raw = file.read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise SeedError(
            f"not UTF-8: byte 0x{raw[error.start]:02x}",
            where=f"{file}:{line}:{column}",
            remedy="save the file as UTF-8 (for instance `iconv -f latin1 -t utf-8`)",
        ) from error
    except OSError as error:
        raise SeedError(f"cannot be read: {error.strerror}", where=str(file)) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise SeedError("holds a NUL character", where=f"{file}:{line}", expected="text", remedy="clean the file")
    return text.replace("\r\n", "\n").replace("\r", "\n")
