"""What a new record is to be like: which fields, in which order, which values are kept, and the form of the others.

The fields and their order are those of one row of the seed. A value that is not kept has the form of some row's: what
has digits keeps its letters and gets other digits, what has none is one to four words.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import regex

from understudy.errors import SeedError
from understudy.evals import records
from understudy.recipe import Inverted

# Between two values, beside what stands between those of the seed's rows.
_BETWEEN = (" ", " (", " - ", ") ", "), ", ", ")
_AFTER = ("", ")")
_WORDS = r"[A-Z][A-Za-z'&-]{1,11}( (&|of|and|with|for|[A-Z][A-Za-z'-]{1,10})){0,2}( [A-Z][A-Za-z'-]{1,10})?"


@dataclass(frozen=True, slots=True)
class Sketch:
    """One record to be."""

    records: tuple[dict[str, str], ...]
    """Those of the seed, in the order in which they are shown; the last one gives fields and order."""
    material: str
    """What the SM is shown: each record as a line, and its text."""
    form: str
    """What the new record's line must match."""
    given: dict[str, str]
    """What whoever extracts is told."""
    words: Stretches
    """What stands around the values of the seed's rows."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """What texts say before, between and after the values that are to be found in them."""

    before: tuple[str, ...] = ("",)
    between: tuple[str, ...] = _BETWEEN
    after: tuple[str, ...] = _AFTER

    @classmethod
    def of(cls, found: list[tuple[str, dict[str, str]]]) -> Stretches:
        """Those of some texts, each with its record, and punctuation besides."""
        parts: tuple[set[str], ...] = ({""}, set(_BETWEEN), set(_AFTER))
        for text, record in found:
            end, values = 0, list(record.values())
            for place, value in enumerate(values):
                start = text.find(value, end)
                if start < 0 or (place and start == end):  # within another value, or up against it
                    break
                parts[min(place, 1)].add(text[end:start])
                end = start + len(value)
            else:
                parts[2].add(text[end:])
        before, between, after = (tuple(sorted(part)) for part in parts)
        return cls(before, between, after)


def sketched(rows: list[dict[str, Any]], how: Inverted, rng: Random) -> Sketch:
    """Draw what the next record is to be like.

    Raises:
        SeedError: when the rows lack the column of the text, or hold nothing else.
    """
    if any(how.text not in row for row in rows):
        raise SeedError(
            f"no column `{how.text}`", where="seeds", expected=f"one of: {', '.join(sorted(rows[0]))}",
            remedy="name the column of the text in `inverted.text`",
        )  # fmt: skip
    order = list(rows)
    rng.shuffle(order)
    found = [_record(row, how) for row in order]
    if not all(found):
        raise SeedError(
            "a row without anything to extract", where="seeds",
            expected=f"columns other than {', '.join((how.text, *how.given))}, whose values stand in `{how.text}`",
        )  # fmt: skip
    parts = []
    for name in found[-1]:
        seen = [record[name] for record in found if name in record]
        value = rng.choice(seen)
        parts.append(
            records.literal(name) + ": " + (records.literal(value) if rng.random() < how.kept else _like(value))
        )
    material = "\n\n".join(
        f"{records.line(record)}\nText: {row[how.text]}" for record, row in zip(found, order, strict=True)
    )
    given = {name: str(order[-1][name]) for name in how.given}
    words = Stretches.of([(str(row[how.text]), record) for row, record in zip(order, found, strict=True)])
    return Sketch(tuple(found), material, r" \| ".join(parts), given, words)


def text_form(record: dict[str, str], words: Stretches) -> str:
    """What a text around a record's values must match: they stand in it in order, with words of the seed's texts."""
    before, between, after = (
        f"({'|'.join(map(records.literal, one))})" for one in (words.before, words.between, words.after)
    )
    return before + between.join(map(records.literal, record.values())) + after


def _record(row: dict[str, Any], how: Inverted) -> dict[str, str]:
    """What stands in a row's text, in the order in which it stands there."""
    text = str(row[how.text])
    found = {
        name: str(value)
        for name, value in row.items()
        if name not in {how.text, *how.given} and value not in (None, "") and str(value) in text
    }
    return dict(sorted(found.items(), key=lambda item: text.find(item[1])))


def _like(value: str) -> str:
    if not any(char.isdigit() for char in value):
        return _WORDS
    return str(regex.sub(r"\d+", lambda run: f"[1-9][0-9]{{0,{max(0, len(run[0]) - 1)}}}", records.literal(value)))
