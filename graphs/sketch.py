"""What a new record is to be like: which fields, in which order, which values are kept, and the form of the others.

The fields are those of one row of the seed, in about its order. Of a value that is not kept the form is told: what has
digits keeps its letters and gets other digits, what has none is one to five words. Asked for another name, a small SM
repeats one that it was shown, so a new name has as many words as one of those, and an initial that none of them has.
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

_WORDS = r"[A-Z][A-Za-z'&-]{1,11}( (&|of|and|with|for|[A-Z][A-Za-z'-]{1,10})){0,2}( [A-Z][A-Za-z'-]{1,10})?"
# A word of a new name, after its initial.
_REST = r"([a-z]{1,11}|[A-Z]{1,7})('s|-[A-Z][a-z]{1,8})?"
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
    fields = _varied(list(found[-1]), rng)
    form = r" \| ".join(_field(one, [record[one] for record in found if one in record], how, rng) for one in fields)
    material = "\n\n".join(
        f"{records.line(record)}\nText: {row[how.text]}" for record, row in zip(found, order, strict=True)
    )
    given = {name: str(order[-1][name]) for name in how.given}
    stretches = Stretches.of([(str(row[how.text]), record) for row, record in zip(order, found, strict=True)])
    return Sketch(tuple(found), material, form, given, stretches.drawn(fields, rng))


def text_form(record: dict[str, str], around: tuple[tuple[str, ...], ...]) -> str:
    """What a text around a record's values must match: they stand in it in order, with the seed's stretches around."""
    values = map(records.literal, (*record.values(), ""))
    return "".join(
        f"({'|'.join(map(records.literal, place))}){value}" for place, value in zip(around, values, strict=True)
    )


def loose_text_form(record: dict[str, str]) -> str:
    """What a text must match that an SM wrote freely: the values stand in it in order."""
    return ".*".join(map(records.literal, ("", *record.values(), "")))


def _varied(fields: list[str], rng: Random) -> list[str]:
    """Of all fields but the first, one is left out and one stands elsewhere, each by an even chance."""
    first, *others = fields
    if len(others) > 2 and rng.random() < 0.5:
        others.remove(rng.choice(others))
    if len(others) > 1 and rng.random() < 0.5:
        moved = others.pop(rng.randrange(len(others)))
        others.insert(rng.randrange(len(others) + 1), moved)
    return [first, *others]


def _field(name: str, seen: list[str], how: Inverted, rng: Random) -> str:
    """A field as a pattern: a value that the seed's rows have, or the form of another one."""
    value = rng.choice(seen)
    named = name in how.names
    digits = any(char.isdigit() for char in value)
    kept = how.kept.names if named else how.kept.numbers if digits else how.kept.words
    if rng.random() < kept:
        form = records.literal(value)
    elif named:
        form = _another_name(value, seen, rng)
    else:
        form = _other_digits(value) if digits else _WORDS
    return f"{records.literal(name)}: {form}"


def _record(row: dict[str, Any], how: Inverted) -> dict[str, str]:
    """What stands in a row's text, in the order in which it stands there."""
    text = str(row[how.text])
    found = {
        name: str(value)
        for name, value in row.items()
        if name not in {how.text, *how.given} and value not in (None, "") and str(value) in text
    }
    return dict(sorted(found.items(), key=lambda item: text.find(item[1])))


def _another_name(value: str, seen: list[str], rng: Random) -> str:
    """As many words, the first with an initial that no name of the seed has."""
    taken = {name[0].upper() for name in seen}
    free = [letter for letter in ascii_uppercase if letter not in taken] or ascii_uppercase
    further = f"( (&|of|and|with|for))?( [A-Z]{_REST})" * (min(_MOST_WORDS, len(value.split())) - 1)
    return f"{rng.choice(free)}{_REST}{further}"


def _other_digits(value: str) -> str:
    return str(regex.sub(r"\d+", lambda run: f"[1-9][0-9]{{0,{max(0, len(run[0]) - 1)}}}", records.literal(value)))
