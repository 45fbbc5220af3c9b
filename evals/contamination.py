"""Contamination: rows that share long runs of words with a benchmark.

13-grams of words, as for GPT-3 (Brown et al., arXiv 2005.14165, appendix C) and in lm-evaluation-harness
(docs/decontamination.md). Differences: a text of 8 to 12 words is looked for whole, where GPT-3 shortens n for a whole
benchmark; n-grams that occur often are not left out; nothing is dropped or cut, the rows are named.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.corpus.benchmarks import Item
from understudy.evals.rules import words

N = 13
SHORTEST = 8
_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no word's part of a sum is lost
_MOST_WORDS = 1 << 18
_QUOTED = 300


@dataclass(frozen=True, slots=True)
class Overlap:
    """A row that has something of a benchmark."""

    id: str
    share: float
    """Of the row's words, those inside a run that stands in a benchmark."""
    words: int
    """Length of the longest such run."""
    role: str
    """Whose message it stands in."""
    quote: str
    """The run, cut at 300 characters."""
    benchmark: str
    """The first item that the run begins with."""


class Contamination:
    """Holds the n-grams of benchmarks, 16 bytes each, with their texts, and looks rows up."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._hashes: dict[str, int] = {}
        self._places: list[str] = []
        self._texts: list[tuple[int, str]] = []
        self.items = self.too_short = self.whole = 0
        self._grams = self._read(items)
        self.rows = 0
        self.found: list[Overlap] = []

    def _read(self, items: Iterable[Item]) -> dict[int, tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """By length, the hashes of the n-grams in order, and of each the first text and place where it stands."""
        hashes = {n: array("Q") for n in range(SHORTEST, N + 1)}
        where = {n: array("q") for n in hashes}
        for item in items:
            self.items += 1
            self._places.append(item.place)
            for text in item.texts:
                said = words(text)
                if len(said) < SHORTEST:
                    self.too_short += 1
                    continue
                n = min(N, len(said))
                self.whole += n < N
                found = self._hashed(said, n)
                hashes[n].frombytes(found.tobytes())
                where[n].extend((len(self._texts) << 32) + place for place in range(len(found)))
                self._texts.append((self.items - 1, text))
        out = {}
        for n, values in hashes.items():
            if values:
                every, first = np.unique(np.frombuffer(values, np.uint64), return_index=True)
                out[n] = every, np.frombuffer(where[n], np.int64)[first]
        return out

    @property
    def texts(self) -> int:
        """How many texts are looked for."""
        return len(self._texts)

    def add(self, id: str, messages: Iterable[tuple[str, str]]) -> Overlap | None:
        """Look a row up, given as (role, text) of its messages; what is found is also kept in `found`."""
        self.rows += 1
        total = matched = 0
        best: tuple[int, str, str, int] = (0, "", "", 0)
        for role, text in messages:
            said = words(text)
            total += len(said)
            if len(said) < SHORTEST:
                continue
            for first, last, item in self._runs(said):
                matched += last - first
                if last - first > best[0]:
                    best = last - first, role, _quote(text, first, last), item
        if not matched:
            return None
        length, role, quote, item = best
        one = Overlap(id, matched / total, length, role, quote, self._places[item])
        self.found.append(one)
        return one

    def _runs(self, said: list[str]) -> Iterator[tuple[int, int, int]]:
        """Longest runs of words that are made of matched n-grams: first word, the one after the last, and the item."""
        hits: dict[int, tuple[int, int]] = {}
        for n, (known, where) in self._grams.items():
            if len(said) < n:
                continue
            asked = self._hashed(said, n)
            at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
            for start in np.flatnonzero(known[at] == asked).tolist():
                text, place = divmod(int(where[at[start]]), 1 << 32)
                item, body = self._texts[text]
                # A hash may be that of other words, once in ages.
                if words(body)[place : place + n] == said[start : start + n]:
                    hits[start] = max(hits.get(start, (0, 0)), (start + n, item))
        begin = end = source = -1
        for start in sorted(hits):
            if start > end or end < 0:
                if end > 0:
                    yield begin, end, source
                begin, source = start, hits[start][1]
            end = max(end, hits[start][0])
        if end > 0:
            yield begin, end, source

    def _hashed(self, said: list[str], n: int) -> NDArray[np.uint64]:
        """A hash of each run of n words, in order."""
        if len(self._hashes) > _MOST_WORDS:
            self._hashes.clear()
        known = self._hashes
        values = np.fromiter((known.get(word) or self._hash(word) for word in said), np.uint64, len(said))
        windows = len(said) - n + 1
        out = np.zeros(windows, np.uint64)
        for place in range(n):  # wraps around at 64 bits, as is wanted
            out = out * _FACTOR + values[place : place + windows]
        return out

    def _hash(self, word: str) -> int:
        found = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        self._hashes[word] = found
        return found

    def figures(self) -> dict[str, Any]:
        """How many rows have something of a benchmark, and which, the most contaminated first."""
        found = sorted(self.found, key=lambda one: (-one.share, one.id))
        return {
            "n": self.rows, "contaminated": len(found), "share": len(found) / self.rows if self.rows else None,
            "gram": N, "items": self.items, "texts": self.texts, "texts_matched_whole": self.whole,
            "texts_too_short": self.too_short, "rows": [asdict(one) for one in found],
        }  # fmt: skip


def _quote(text: str, first: int, last: int) -> str:
    """The words from one to before another, as they were written."""
    # Folding the case of a few rare letters splits a word; each word of ours then points at the whole of it.
    spans = [match.span() for match in _WORD.finditer(text) for _ in words(match.group())]
    said = words(text)
    if len(spans) != len(said):
        return " ".join(said[first:last])[:_QUOTED]
    return " ".join(text[spans[first][0] : spans[last - 1][1]].split())[:_QUOTED]
