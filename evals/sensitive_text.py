"""What must not be repeated: runs of words of sensitive cells, and whole cells, of long ones also with letters changed.

A text that several rows of the sample have points to no one of them, and is not guarded: a whole cell that stands
twice, a run of words that stands in five rows or more (a form's own words).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from understudy.columns import Record, Schema, used
from understudy.evals.rules import grams, words

_COMMON = 5
SHORTEST = 8
"""Letters: shorter cells are like one another by chance."""
_SHORT = 2
"""Letters of the shortest cell that may find somebody."""
_LETTERS = 3
_SCREEN = 0.4
"""Least share of letter triples in common before two texts are compared in full."""
_REFERENCE = 300
"""Fresh cells that are compared to learn how alike honest ones are."""
_SPACE = re.compile(r"\s+")
Alike = tuple[float, int]
"""How like (0..1), and which row of the sample."""


def folded(text: str) -> str:
    """A text without differences of case and white space."""
    return _SPACE.sub(" ", text).strip().casefold()


class Runs:
    """Runs of words that stand in the sensitive cells of few rows."""

    def __init__(self, rows: Iterable[Sequence[str]], size: int) -> None:
        self.size = size
        self._said = [[words(cell) for cell in row] for row in rows]
        self._found = self._of(size)

    def _of(self, size: int) -> set[tuple[str, ...]]:
        counts = Counter[tuple[str, ...]]()
        for row in self._said:
            counts.update({gram for cell in row for gram in grams(cell, size)})
        return {gram for gram, count in counts.items() if count < _COMMON}

    def too_long(self, text: str) -> bool:
        """Whether a text has a run of `size` words of a sensitive cell."""
        return not self._found.isdisjoint(grams(words(text), self.size))

    def longest(self, texts: Iterable[str]) -> int:
        """Words of the longest run that any of the texts has of any sensitive cell; 0 for none."""
        said = [words(text) for text in texts]
        low, high = 0, min(
            max(map(len, said), default=0), max((len(cell) for row in self._said for cell in row), default=0)
        )  # fmt: skip
        # What has a run of n words has one of n - 1, so halving finds the longest.
        while low < high:
            size = (low + high + 1) // 2
            known = self._of(size)
            if any(not known.isdisjoint(grams(one, size)) for one in said):
                low = size
            else:
                high = size - 1
        return low


@dataclass(frozen=True, slots=True)
class Guarded:
    """The cells of one sensitive column that stand in one row each, looked up by letter triples."""

    texts: tuple[str, ...]
    rows: tuple[int, ...]
    triples: dict[str, tuple[int, ...]]
    limit: float
    """Similarity from which on a text is a near-copy: the recipe's, or more where fresh cells are as alike."""
    short: dict[str, int]
    """Cells too short to be compared by letters, by the row that they stand in: repeated they are copies. Only those
    that no fresh row has, so none where there are no fresh rows: `yes` finds nobody."""

    @classmethod
    def of(cls, cells: Sequence[str | None], fresh: Sequence[str], alike: float) -> Guarded:
        """Learn from fresh cells how alike honest ones are; without any, from the sample's own."""
        told = [folded(cell or "") for cell in cells]
        counts = Counter(told)
        kept = [place for place, text in enumerate(told) if len(text) >= SHORTEST and counts[text] == 1]
        index: dict[str, list[int]] = {}
        for number, place in enumerate(kept):
            for triple in _triples(told[place]):
                index.setdefault(triple, []).append(number)
        guarded = cls(
            tuple(told[place] for place in kept), tuple(kept),
            {triple: tuple(numbers) for triple, numbers in index.items()}, alike, {},
        )  # fmt: skip
        if fresh:
            usual = [guarded.nearest(text)[0] for text in fresh[:_REFERENCE]]
        else:
            usual = [guarded.nearest(text, but=number)[0] for number, text in enumerate(guarded.texts[:_REFERENCE])]
        honest = max(usual, default=0.0)
        # Others will be a little more alike than the few that were looked at.
        limit = max(alike, honest + (1 - honest) / 4) if honest < 1 else math.nextafter(1, 2)
        common = {folded(text) for text in fresh}
        short = {
            text: place
            for place, text in enumerate(told)
            if _SHORT <= len(text) < SHORTEST and counts[text] == 1 and fresh and text not in common
        }
        return cls(guarded.texts, guarded.rows, guarded.triples, limit, short)

    def nearest(self, text: str, but: int | None = None) -> Alike:
        """The guarded cell most like a text; (0, -1) where none has much in common with it."""
        text = folded(text)
        mine = _triples(text)
        shared = Counter[int]()
        for triple in mine:
            shared.update(self.triples.get(triple, ()))
        if but is not None:
            shared.pop(but, None)
        best: Alike = 0.0, -1
        for number, count in shared.most_common(3):
            other = self.texts[number]
            if 2 * count < _SCREEN * (len(mine) + len(_triples(other))):
                break
            ratio = SequenceMatcher(None, text, other, autojunk=False).ratio()
            best = max(best, (ratio, self.rows[number]))
        return best


@dataclass(frozen=True, slots=True)
class SensitiveText:
    """All that is guarded of a sample."""

    columns: tuple[str, ...]
    """Those with text, in which something might be repeated."""
    runs: Runs
    cells: dict[str, Guarded]
    """By sensitive column."""

    @classmethod
    def of(
        cls, sample: Sequence[Record], fresh: Sequence[Record], schema: Schema, size: int, alike: float
    ) -> SensitiveText:
        """Guard the text columns that the schema calls sensitive; `fresh` rows are real ones outside the sample."""
        columns = tuple(name for name, column in used(schema).items() if column.type == "text")
        guarded = [name for name in columns if schema[name].sensitive]
        runs = Runs(([cell for name in guarded if (cell := text_of(record, name))] for record in sample), size)
        cells = {
            name: Guarded.of(
                [text_of(record, name) for record in sample],
                [cell for record in fresh if (cell := text_of(record, name))], alike,
            )
            for name in guarded
        }  # fmt: skip
        return cls(columns, runs, cells)

    def said(self, record: Record) -> list[str]:
        """The text cells of a row."""
        return [cell for name in self.columns if (cell := text_of(record, name))]


def text_of(record: Record, name: str) -> str | None:
    """A cell as text; None where it is empty."""
    cell = record.get(name)
    return None if cell is None else str(cell)


def _triples(text: str) -> set[str]:
    return {text[place : place + _LETTERS] for place in range(max(1, len(text) - _LETTERS + 1))}
