"""The schema of a table: inferred from its rows, edited by hand as YAML; how a row is read by it, and looks.

A row is shown as its cells in one line, ` | ` between them, targets first: what comes later is written in the light of
what stands before it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from understudy.columns import Cell, Column, Record, Schema, used
from understudy.errors import SchemaError
from understudy.sections import Strict
from understudy.yaml_file import explain, parse

BETWEEN = " | "
MISSING = "?"
"""An empty cell, as it is shown and written."""
# How files say that nothing is known. In a column that is not of numbers, only the first two do.
_EMPTY = ("", MISSING)
_UNKNOWN = frozenset({*_EMPTY, "na", "n/a", "nan", "null", "none", "-"})
_MOST_CATEGORIES = 20
_FEW = 6
# Names of columns that, taken together, find a person; of those that name one there is nothing to learn.
_IDENTIFYING = re.compile(
    r"(?i)(^|[ _-])(age|sex|gender|birth\w*|zip\w*|post\w*code|city|town|ethnicity|race|occupation)($|[ _-])"
)
_KEY = re.compile(r"(?i)(^|[ _-])(id|uuid|guid|key|number|no|nr|mrn|ssn)$")


class SchemaFile(Strict):
    """A schema as it stands in a file."""

    columns: dict[str, Column] = Field(min_length=1)
    """By name, in the order in which they stand in the table."""


def read_schema(path: Path) -> Schema:
    """The schema in a YAML file.

    Raises:
        SchemaError: naming file, line and key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(
            f"cannot be read: {error}", where=str(path),
            remedy="check the path, or write one with `understudy table schema DATA --out FILE`",
        ) from error  # fmt: skip
    node, data = parse(path, text, "`columns:`, each by name with its `type:`", SchemaError)
    try:
        return checked(SchemaFile.model_validate(data).columns, str(path))
    except ValidationError as error:
        raise explain(path, node, error, SchemaFile, SchemaError) from error


def written(schema: Schema) -> str:
    """A schema as YAML, with what differs from the defaults."""
    body = {name: {"type": column.type} | _changed(column) for name, column in schema.items()}
    return yaml.safe_dump({"columns": body}, sort_keys=False, allow_unicode=True, width=100)


def _changed(column: Column) -> dict[str, Any]:
    """What differs from the defaults; the range of whole numbers without a point."""
    said = column.model_dump(mode="json", exclude_defaults=True)
    for bound in {"low", "high"} & said.keys() if column.type == "integer" else ():
        if said[bound].is_integer():
            said[bound] = int(said[bound])
    return said


def checked(schema: Schema, where: str) -> Schema:
    """The same schema, whose rows can be shown in lines.

    Raises:
        SchemaError: when there is nothing to write, or a name or value would break a line.
    """
    if not used(schema):
        raise SchemaError("no column is to be written", where=where, expected="one whose role is not `ignored`")
    for name, column in schema.items():
        for text in (name, *column.categories):
            if "|" in text or "\n" in text or text != text.strip() or not text:
                raise SchemaError(
                    f"`{text}` in column `{name}`", where=where,
                    expected="names and categories without `|`, line breaks and spaces at either end",
                    remedy="write it in another way, in the table and in the schema",
                )  # fmt: skip
        if MISSING in column.categories:
            raise SchemaError(
                f"category `{MISSING}` in column `{name}`", where=where,
                remedy="that is an empty cell: `optional: true`",
            )  # fmt: skip
    return schema


def infer(rows: Sequence[Mapping[str, Any]], target: Iterable[str] = ()) -> Schema:
    """A schema that all these rows fit: a first draft for a person to look at.

    Few different values make a category, numbers have the range that was seen, what is left is text and taken to be
    sensitive. Keys of rows are ignored.

    Args:
        rows: cells by column, as they were read.
        target: the columns that a VM is to say.

    Raises:
        SchemaError: when there are no rows, or a target that none has.
    """
    if not rows:
        raise SchemaError("no rows to infer a schema from")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) == 1 and ";" in names[0]:
        raise SchemaError(
            f"one column, `{names[0]}`", expected="cells with commas between them",
            remedy="save the table with commas, or with tabs as .tsv",
        )  # fmt: skip
    aims = list(target)
    if unknown := [name for name in aims if name not in names]:
        raise SchemaError(f"no column `{unknown[0]}`", expected=f"one of: {', '.join(names)}")
    return {name: _column(name, [row.get(name) for row in rows], name in aims) for name in names}


def _column(name: str, cells: Sequence[Any], target: bool) -> Column:
    said = [str(cell).strip() for cell in cells if cell is not None]
    known = [text for text in said if text.casefold() not in _UNKNOWN]
    numbers = [number for text in known if (number := _number(text)) is not None]
    about: dict[str, Any] = {"role": "target" if target else "input", "identifying": bool(_IDENTIFYING.search(name))}
    if _KEY.search(name) and len(set(known)) == len(known) > 1 and all("." not in text for text in known):
        return Column(type="text", sensitive=True, role="ignored", optional=len(known) < len(cells))
    if known and len(numbers) == len(known) and (len(set(numbers)) > _FEW or not (target or _repeats(known, _FEW))):
        decimals = min(6, max(_places(text) for text in known))
        about |= {"low": min(numbers), "high": max(numbers), "optional": len(known) < len(cells)}
        return Column(type="number" if decimals else "integer", decimals=decimals, **about)
    known = [text for text in said if text not in _EMPTY]
    about["optional"] = len(known) < len(cells)
    if known and _repeats(known, _MOST_CATEGORIES):
        values = sorted(set(known), key=lambda text: (_number(text) is None, _number(text) or 0.0, text))
        return Column(type="category", categories=tuple(values), **about)
    return Column(type="text", sensitive=True, **about)


def _repeats(known: Sequence[str], most: int) -> bool:
    distinct = len(set(known))
    return distinct <= most and (distinct <= 2 or len(known) >= 2 * distinct)


def _number(text: str) -> float | None:
    if re.match(r"[+-]?0\d", text):  # a postcode, or another number that is none
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _places(text: str) -> int:
    """Places after the point; `63.0` is a whole number."""
    number = float(text)
    return 0 if number.is_integer() else len(f"{number:.6f}".rstrip("0").partition(".")[2])


def typed(row: Mapping[str, Any], schema: Schema, where: str, *, unseen: bool = False) -> Record:
    """A row of a file, with the cells that a schema has a column for.

    Args:
        row: cells by column, as they were read.
        schema: the columns.
        where: the row's place, for errors.
        unseen: the schema was drawn up without this row: its numbers may lie beyond the ranges, and its inputs may be
            empty, or of other categories.

    Raises:
        SchemaError: naming place, column, value and what was expected.
    """
    record: Record = {}
    for name, column in used(schema).items():
        raw = row.get(name)
        text = "" if raw is None else str(raw).strip()
        value = _cell(text, name, _open(column) if unseen else column)
        if isinstance(value, Wrong):
            raise SchemaError(
                f"{name} is {value.told}", where=where, remedy="correct the cell, or the column in the schema"
            )
        record[name] = value
    return record


def _open(column: Column) -> Column:
    """A column as rows have it that its schema was drawn up without."""
    if column.role == "target":
        return column.model_copy(update={"low": None, "high": None})
    changed: dict[str, Any] = {"low": None, "high": None, "optional": True}
    return column.model_copy(update=changed | ({"type": "text"} if column.type == "category" else {}))


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a cell."""

    column: str
    kind: Literal["cells", "empty", "type", "range", "category"]
    told: str
    """What was found, and what was expected."""


def _cell(text: str, name: str, column: Column) -> Cell | Wrong:
    """A cell, or what is wrong with it."""
    empty = text in _EMPTY or (column.numeric and text.casefold() in _UNKNOWN)
    if empty and text not in column.categories:
        return None if column.optional else Wrong(name, "empty", "empty, expected a value: it is not `optional`")
    if column.type == "text":
        return text
    if column.type == "category":
        listed = ", ".join(column.categories)
        return text if text in column.categories else Wrong(name, "category", f"{text!r}, expected one of: {listed}")
    number = _number(text)
    if number is None or (column.type == "integer" and not number.is_integer()):
        wanted = "a whole number" if column.type == "integer" else "a number"
        return Wrong(name, "type", f"{text!r}, expected {wanted}")
    if (column.low is not None and number < column.low) or (column.high is not None and number > column.high):
        return Wrong(name, "range", f"{text}, expected {_told(column.low)} to {_told(column.high)}")
    return int(number) if column.type == "integer" else round(number, column.decimals)


def _told(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:g}"


def order(schema: Schema) -> list[str]:
    """The columns of a line: targets first; free text stands in none."""
    shown = {name: column for name, column in used(schema).items() if column.type != "text"}
    return sorted(shown, key=lambda name: shown[name].role != "target")


def free_text(schema: Schema) -> list[str]:
    """The columns of free text."""
    return [name for name, column in used(schema).items() if column.type == "text"]


def header(schema: Schema) -> str:
    """The names of a line's cells."""
    return BETWEEN.join(order(schema))


def line(record: Record, schema: Schema) -> str:
    """A record as a line."""
    return BETWEEN.join(cell(record.get(name), schema[name]) for name in order(schema))


def cell(value: Cell, column: Column) -> str:
    """A cell as it is shown."""
    if value is None:
        return MISSING
    return f"{value:.{column.decimals}f}" if column.type == "number" else str(value)


def read_line(text: str, schema: Schema) -> tuple[Record, list[Wrong]]:
    """What a line says, and what is wrong with it; of a line with another number of cells, nothing is read."""
    names, cells = order(schema), [part.strip() for part in text.strip().split("|")]
    if len(cells) != len(names):
        return {}, [Wrong("", "cells", f"{len(cells)} cells, expected {len(names)}: {header(schema)}")]
    record: Record = {}
    wrong = []
    for name, text in zip(names, cells, strict=True):
        value = _cell(text, name, schema[name])
        if isinstance(value, Wrong):
            wrong.append(value)
        else:
            record[name] = value
    return record, wrong


Wanted = dict[str, tuple[float, float] | str | None]
"""Of a record to be: a value, or None for an empty cell, or the least and the greatest number."""


def form(schema: Schema, wanted: Wanted | None = None) -> str:
    """A regular expression for a line: every cell of its type and range, and of what is wanted of it."""
    wanted = wanted or {}
    return r" \| ".join(_form(name, schema[name], wanted) for name in order(schema))


def loose_form(schema: Schema) -> str:
    """A regular expression for a line with the right number of cells, whatever stands in them."""
    return r"[^|\n]+( ?\| ?[^|\n]+)" + f"{{{len(order(schema)) - 1}}}"


def _form(name: str, column: Column, wanted: Wanted) -> str:
    if name in wanted:
        want = wanted[name]
        if want is None:
            return re.escape(MISSING)
        if isinstance(want, str):
            return re.escape(want)
        return f"({numbers_between(*want, column.decimals)})"
    if column.type == "category":
        able = "|".join(re.escape(value) for value in column.categories)
    else:
        low, high = column.low, column.high
        if low is None or high is None:
            able = r"-?\d{1,12}" + (rf"\.\d{{{column.decimals}}}" if column.decimals else "")
        else:
            able = numbers_between(low, high, column.decimals)
    return f"({able}{'|' + re.escape(MISSING) if column.optional else ''})"


def numbers_between(low: float, high: float, decimals: int = 0) -> str:
    """A regular expression for the numbers in low..high with so many places after the point."""
    scale = 10**decimals
    least, most = math.ceil(low * scale - 1e-9), math.floor(high * scale + 1e-9)
    parts = []
    if least < 0:
        parts += [f"-{part}" for part in _whole(max(1, -most), -least, decimals)]
    if most >= 0:
        parts += _whole(max(0, least), most, decimals)
    return "|".join(parts)


def _whole(low: int, high: int, decimals: int) -> list[str]:
    """Patterns for whole numbers low..high, both at least 0, with a point before the last `decimals` digits."""
    out = []
    first = max(len(str(low)), decimals + 1)
    for length in range(first, max(len(str(high)), decimals + 1) + 1):
        least = max(low, 10 ** (length - 1)) if length > first else low
        most = min(high, 10**length - 1)
        if least > most:
            continue
        for digits in _digits(str(least).zfill(length), str(most).zfill(length)):
            if decimals:
                digits = [*digits[:-decimals], r"\.", *digits[-decimals:]]
            out.append("".join(digits))
    return out


def _digits(low: str, high: str) -> list[list[str]]:
    """Numbers between two of the same length, as classes of digits."""
    if not low:
        return [[]]
    if low[0] == high[0]:
        return [[low[0], *rest] for rest in _digits(low[1:], high[1:])]
    rest = len(low) - 1
    start, end = int(low[0]), int(high[0])
    out = []
    if low[1:].strip("0"):  # the lowest leading digit has not all of its numbers
        out += [[low[0], *one] for one in _digits(low[1:], "9" * rest)]
        start += 1
    if high[1:].strip("9"):
        last = [[high[0], *one] for one in _digits("0" * rest, high[1:])]
        end -= 1
    else:
        last = []
    if start <= end:
        out.append([str(start) if start == end else f"[{start}-{end}]", *["[0-9]"] * rest])
    return out + last


def told(wanted: Wanted, schema: Schema) -> str:
    """What is wanted of a record, in words."""
    said = []
    for name in order(schema):
        if name in wanted:
            want, column = wanted[name], schema[name]
            if isinstance(want, tuple):
                low, high = (cell(int(end) if column.type == "integer" else end, column) for end in want)
                said.append(f"{name} {low} to {high}" if low != high else f"{name} {low}")
            else:
                said.append(f"{name} {cell(want, column)}")
    return ", ".join(said)


def eighth(numbers: Sequence[float], share: float) -> tuple[float, float]:
    """The ends of that eighth of sorted numbers which a share of them, in 0..1, falls into."""
    last, place = len(numbers) - 1, min(7, int(share * 8))
    return numbers[round(place * last / 8)], numbers[round((place + 1) * last / 8)]


def shown(use_case: str, rows: Sequence[Record], schema: Schema) -> str:
    """Rows as an SM sees them."""
    return "\n".join((f"{use_case}:", header(schema), *(line(row, schema) for row in rows)))


def outside(record: Record, wanted: Wanted) -> list[str]:
    """The columns of a record that are not as they were wanted."""

    def fits(value: Cell, want: tuple[float, float] | str | None) -> bool:
        if isinstance(want, tuple):
            return isinstance(value, int | float) and want[0] - 1e-9 <= value <= want[1] + 1e-9
        return value == want

    return [name for name, want in wanted.items() if not fits(record.get(name), want)]
