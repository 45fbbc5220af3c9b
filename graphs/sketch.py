"""What a new record is to be like: which fields, in which order, which values are kept, and the form of the others.

The fields and their order are those of one row of the seed. A value that is not kept has the form of some row's: what
has digits keeps its letters and gets other digits, what has none is as many words. Asked for "another", a small SM
repeats what it was shown, so the first letter of such words is drawn, and is none that it was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from string import ascii_uppercase
from typing import Any

import regex

from understudy.errors import SeedError
from understudy.evals import records
from understudy.graphs.stretches import Stretches
from understudy.recipe import Inverted

# A word of a new value, after its first letter.
_REST = r"[A-Za-z]{1,11}(['-][A-Za-z]{1,8})?"
_MOST_WORDS = 4


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
    around: tuple[tuple[str, ...], ...]
    """What may stand before the first value, between two, and after the last: one place more than there are values."""


def sketched(rows: list[dict[str, Any]], how: Inverted, rng: Random) -> Sketch:
    """Draw what the next record is to be like.

    Raises:
        SeedError: when the rows lack a column that is named, or hold nothing else.
    """
    for name, key in ((how.text, "text"), *((name, "given") for name in how.given)):
        if any(name not in row for row in rows):
            raise SeedError(
                f"no column `{name}`", where="seeds", expected=f"one of: {', '.join(sorted(rows[0]))}",
                remedy=f"check `inverted.{key}`",
            )  # fmt: skip
    order = list(rows)
    rng.shuffle(order)
    found = [_record(row, how) for row in order]
    if not all(found):
        raise SeedError(
            "a row without anything to extract", where="seeds",
            expected=f"columns other than {', '.join((how.text, *how.given))}, whose values stand in `{how.text}`",
        )  # fmt: skip
    names = list(found[-1])
    form = r" \| ".join(_field(name, [record[name] for record in found if name in record], how, rng) for name in names)
    material = "\n\n".join(
        f"{records.line(record)}\nText: {row[how.text]}" for record, row in zip(found, order, strict=True)
    )
    given = {name: str(order[-1][name]) for name in how.given}
    stretches = Stretches.of([(str(row[how.text]), record) for row, record in zip(order, found, strict=True)])
    return Sketch(tuple(found), material, form, given, stretches.drawn(names, rng))


def text_form(record: dict[str, str], around: tuple[tuple[str, ...], ...]) -> str:
    """What a text around a record's values must match: they stand in it in order, with the seed's stretches around."""
    values = map(records.literal, (*record.values(), ""))
    return "".join(
        f"({'|'.join(map(records.literal, place))}){value}" for place, value in zip(around, values, strict=True)
    )


def loose_text_form(record: dict[str, str]) -> str:
    """What a text must match that an SM wrote freely: the values stand in it in order."""
    return ".*".join(map(records.literal, ("", *record.values(), "")))


def _field(name: str, seen: list[str], how: Inverted, rng: Random) -> str:
    """A field as a pattern: a value that the seed's rows have, or the form of a new one."""
    value = rng.choice(seen)
    return f"{records.literal(name)}: {records.literal(value) if rng.random() < how.kept else _like(value, seen, rng)}"


def _record(row: dict[str, Any], how: Inverted) -> dict[str, str]:
    """What stands in a row's text, in the order in which it stands there."""
    text = str(row[how.text])
    found = {
        name: str(value)
        for name, value in row.items()
        if name not in {how.text, *how.given} and value not in (None, "") and str(value) in text
    }
    return dict(sorted(found.items(), key=lambda item: text.find(item[1])))


def _like(value: str, seen: list[str], rng: Random) -> str:
    """The form of a new value: other digits, or as many words, the first with an initial that no seen value has."""
    if any(char.isdigit() for char in value):
        return str(regex.sub(r"\d+", lambda run: f"[1-9][0-9]{{0,{max(0, len(run[0]) - 1)}}}", records.literal(value)))
    taken = {one[0].upper() for one in seen}
    initial = rng.choice([letter for letter in ascii_uppercase if letter not in taken] or ascii_uppercase)
    return f"{initial}{_REST}" + f"( (&|of|and|with|for))?( [A-Z]{_REST})" * (min(_MOST_WORDS, len(value.split())) - 1)
