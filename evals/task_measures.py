"""What answers are worth against their references: exact, fields, classes, ranking, pass@k, perplexity, token F1.

Each measure turns rows into counts, and its statistics are functions of which rows are taken, so that an interval of a
statistic, and of the difference of two systems on the same rows, comes from drawing rows again (`interval.py`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.evals.interval import Interval, Picks, Statistic, bootstrap, bootstrap_difference

Array = NDArray[np.float64]

_WORD = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER = re.compile(r"[-+]?\$?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one system's answers are worth."""

    statistics: Mapping[str, Statistic]
    """By name; the first is the one that tables show first."""
    rows: tuple[dict[str, Any], ...]
    """Of each row what the statistics are made of."""
    details: dict[str, Any] = field(default_factory=dict)
    """What has no interval: F1 by field, the confusion of classes, answers that could not be read."""
    lower_is_better: bool = False

    def values(self, *, rounds: int = 2000, seed: int = 0) -> dict[str, Interval]:
        """Each statistic with its interval."""
        return {name: bootstrap(one, len(self.rows), rounds=rounds, seed=seed) for name, one in self.statistics.items()}

    def minus(self, other: Measured, *, rounds: int = 2000, seed: int = 0) -> dict[str, Interval]:
        """Each statistic less that of another system on the same rows.

        Raises:
            ValueError: when the other has other rows in number.
        """
        n = len(self.rows)
        if len(other.rows) != n:
            raise ValueError(f"the same rows are needed, got {n} and {len(other.rows)}")
        return {
            name: bootstrap_difference(one, other.statistics[name], n, rounds=rounds, seed=seed)
            for name, one in self.statistics.items()
        }


def normal(text: str) -> str:
    """A text without what does not matter: case, spaces at the ends and in runs, a final stop, commas in numbers."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".").strip("\"'`")
    if _NUMBER.fullmatch(text):
        text = text.replace(",", "").replace("$", "").lstrip("+")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    return text


def exact(said: Sequence[str | None], references: Sequence[str]) -> Measured:
    """The share of answers that are the reference; None is an answer that was not found, and wrong."""
    right = [one is not None and normal(one) == normal(other) for one, other in _pairs(said, references)]
    return Measured(
        {"exact": _mean(right)}, tuple({"right": one} for one in right), {"not_found": sum(s is None for s in said)}
    )


def f1(said: str, reference: str) -> float:
    """Token F1 as SQuAD defines it (Rajpurkar et al., arXiv 1606.05250), in 0..1."""
    one, other = Counter(_tokens(said)), Counter(_tokens(reference))
    shared = (one & other).total()
    if not one or not other:
        return float(one == other)
    return 2 * shared / (one.total() + other.total())


def token_f1(said: Sequence[str | None], references: Sequence[str]) -> Measured:
    """The mean token F1 of the answers."""
    marks = [f1(one or "", other) for one, other in _pairs(said, references)]
    return Measured({"f1": _mean(marks)}, tuple({"f1": one} for one in marks))


def fields(said: Sequence[str | None], references: Sequence[str]) -> Measured:
    """Answers that are JSON objects, field by field: precision, recall and F1 over all fields of all rows.

    A field counts as found when key and value are those of the reference, but for spaces, case and how a number is
    written. Fields inside an object are `outer.inner`; each item of a list is a value of its own; null is no value. An
    answer that holds no JSON object predicts nothing, so that all of its row is missed.

    Raises:
        ValueError: naming a row whose reference is no JSON object.
    """
    pairs = list(_pairs(said, references))
    wanted = []
    for place, reference in enumerate(references):
        if (found := json_object(reference)) is None:
            raise ValueError(f"row {place + 1}: the reference is not a JSON object: {reference[:80]!r}")
        wanted.append(_items(found))
    names = sorted({key for row in wanted for key, _ in row})
    places = {name: place for place, name in enumerate(names)}
    # Of each row and field: found, made up, missed; the last column is of fields that no reference has.
    counts = np.zeros((len(pairs), len(names) + 1, 3))
    unread = 0
    for row, (answer, _) in enumerate(pairs):
        found = json_object(answer or "")
        unread += found is None
        given = _items(found or {})
        for mark, items in enumerate((given & wanted[row], given - wanted[row], wanted[row] - given)):
            for (key, _), times in items.items():
                counts[row, places.get(key, len(names)), mark] += times
    totals = counts.sum(axis=1)
    by_field = counts.sum(axis=0)
    return Measured(
        {
            "f1": _of_sums(totals, _f1),
            "precision": _of_sums(totals, lambda sums: _share(sums[:, 0], sums[:, 0] + sums[:, 1])),
            "recall": _of_sums(totals, lambda sums: _share(sums[:, 0], sums[:, 0] + sums[:, 2])),
        },
        tuple({"found": int(a), "made_up": int(b), "missed": int(c)} for a, b, c in totals),
        {
            "f1_by_field": {name: float(_f1(by_field[place][None])[0]) for name, place in places.items()},
            "unknown_fields": int(by_field[-1].sum()),
            "unparsable": unread,
        },
    )


def classes(said: Sequence[str | None], references: Sequence[str]) -> Measured:
    """Answers that name a class: accuracy, and F1 averaged over the classes of the references.

    What is no class of the references counts as one class more, which no row has, and has no F1 of its own.
    """
    pairs = [(normal(one) if one is not None else None, normal(other)) for one, other in _pairs(said, references)]
    names = sorted({other for _, other in pairs})
    places = {name: place for place, name in enumerate(names)}
    counts = np.zeros((len(pairs), len(names), 3))
    confusion: dict[str, Counter[str]] = {name: Counter() for name in names}
    for row, (one, other) in enumerate(pairs):
        confusion[other][one if one in places else "(none of these)"] += 1
        if one == other:
            counts[row, places[other], 0] = 1
            continue
        counts[row, places[other], 2] = 1
        if one in places:
            counts[row, places[one], 1] = 1

    def macro(sums: Array) -> Array:
        parts = sums.reshape(len(sums), len(names), 3)
        there = parts.sum(axis=2) > 0
        scores = _f1(parts.reshape(-1, 3)).reshape(len(sums), len(names))
        return _share(np.where(there, scores, 0.0).sum(axis=1), there.sum(axis=1))

    right = [one == other for one, other in pairs]
    return Measured(
        {"accuracy": _mean(right), "macro_f1": _of_sums(counts.reshape(len(pairs), -1), macro)},
        tuple({"right": mark, "class": one} for mark, (one, _) in zip(right, pairs, strict=True)),
        {
            "confusion": {name: dict(sorted(row.items())) for name, row in confusion.items()},
            "not_a_class": sum(one not in places for one, _ in pairs),
        },
    )


def ranking(scores: Sequence[float], relevant: Sequence[bool], k: int) -> Measured:
    """Rows in the order of their scores, highest first: average precision, precision among the first k, and the AUC.

    Of rows with one score those that are not relevant stand first, so that no order of the file can help; for the AUC,
    the chance that a relevant row stands before another, they count half.

    Raises:
        ValueError: when no row is relevant, or there are fewer than k.
    """
    marks = np.array([bool(one) for one, _ in zip(relevant, scores, strict=True)])
    values = np.array(scores, dtype=float)
    if not marks.any() or k > len(marks):
        raise ValueError(f"{k} rows or more are needed, one of them relevant; got {len(marks)}, {marks.sum()} relevant")
    order = np.lexsort((marks, -values))
    ranked = marks[order].astype(float)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))

    def taken(picks: Picks) -> Array:
        return ranked[np.sort(rank[picks], axis=1)]

    def average_precision(picks: Picks) -> Array:
        hits = taken(picks)
        precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
        count = hits.sum(axis=1)  # a sample may hold nothing relevant
        return np.where(count > 0, _share((precision * hits).sum(axis=1), count), np.nan)

    def auc(picks: Picks) -> Array:
        from scipy.stats import rankdata

        yes = marks[picks]
        count = yes.sum(axis=1)
        wins = (rankdata(values[picks], axis=1) * yes).sum(axis=1) - count * (count + 1) / 2
        pairs = count * (yes.shape[1] - count)
        return np.where(pairs > 0, _share(wins, pairs), np.nan)

    return Measured(
        {
            "average_precision": average_precision,
            "auc": auc,
            f"precision@{k}": lambda picks: taken(picks)[:, :k].mean(axis=1),
        },
        tuple({"score": float(one), "relevant": bool(two)} for one, two in zip(values, marks, strict=True)),
    )


def pass_at_k(right: Sequence[Sequence[bool]], k: int) -> Measured:
    """The chance that one of k answers is right, from n ≥ k of each row: 1 - C(n - c, k) / C(n, k), c of n being right.

    Source: Chen et al., arXiv 2107.03374, section 2.1.

    Raises:
        ValueError: for a row with fewer than k answers.
    """
    if short := next((len(row) for row in right if len(row) < k), None):
        raise ValueError(f"{k} answers of each row are needed, got {short}")
    chances = []
    for row in right:
        n, c = len(row), sum(row)
        chances.append(1.0 - float(np.prod([1 - k / i for i in range(n - c + 1, n + 1)])) if n - c >= k else 1.0)
    return Measured({f"pass@{k}": _mean(chances)}, tuple({"n": len(row), "right": sum(row)} for row in right))


def perplexity(logprobs: Sequence[Sequence[float]]) -> Measured:
    """The exponential of the mean negative log-probability of a token, over all references' tokens."""
    sums = np.array([[sum(row), len(row)] for row in logprobs], dtype=float)
    return Measured(
        {"perplexity": _of_sums(sums, lambda of: np.exp(-_share(of[:, 0], of[:, 1])))},
        tuple({"logprob": float(total), "tokens": int(count)} for total, count in sums),
        lower_is_better=True,
    )


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, or that stands in it in a fence or by itself; None without one."""
    candidates = [text, *(fence[1] for fence in _FENCED.finditer(text))]
    if "{" in text:
        candidates.append(text[text.index("{") :])
    for candidate in candidates:
        try:
            value, _ = json.JSONDecoder().raw_decode(candidate.strip())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _items(value: Any, key: str = "") -> Counter[tuple[str, str]]:
    """The values of an object, each with its key, as often as they are there."""
    if isinstance(value, dict):
        inside = ((f"{key}.{name}" if key else normal(str(name)), one) for name, one in value.items())
        return sum((_items(one, name) for name, one in inside), Counter())
    if isinstance(value, list):
        return sum((_items(one, key) for one in value), Counter())
    if value is None:
        return Counter()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return Counter([(key, normal(str(value)))])


def _pairs(said: Sequence[str | None], references: Sequence[str]) -> list[tuple[str | None, str]]:
    if not references:
        raise ValueError("rows are needed, got none")
    return list(zip(said, references, strict=True))


def _tokens(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in _ARTICLES]


def _mean(values: Sequence[float]) -> Statistic:
    marks = np.array(values, dtype=float)
    return lambda picks: marks[picks].mean(axis=1)


def _of_sums(counts: Array, statistic: Callable[[Array], Array]) -> Statistic:
    """A statistic of what the counts of rows, shape (rows, counts), add up to."""

    def taken(picks: Picks) -> Array:
        # How often each row was taken, times its counts: far smaller than the counts of all rows taken.
        times = np.zeros((len(picks), len(counts)))
        np.add.at(times, (np.arange(len(picks))[:, None], picks), 1)
        return statistic(times @ counts)

    return taken


def _share(part: Array, whole: Array) -> Array:
    """Part of whole; 0 of nothing, as scikit-learn has it."""
    share: Array = np.divide(part, whole, out=np.zeros_like(part, dtype=float), where=whole > 0)
    return share


def _f1(sums: Array) -> Array:
    """F1 of (found, made up, missed)."""
    return _share(2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2])
