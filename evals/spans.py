"""Answers that stand in a text, to be asked about: numbers, names, and what a pattern finds; and when two are the same.

That an answer is right is known before there is a question. Whether the question leads to it is for somebody to say who
has not seen it: round-trip consistency (Alberti et al., ACL 2019, arXiv 1906.05416).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import regex

from understudy.errors import RecipeError
from understudy.evals.invariants import names_in, number_spans, numbers_in, prose, stands
from understudy.evals.task_measures import normal

_MOST_LETTERS = 80
_SEARCH_S = 2.0
_ARTICLES = re.compile(r"^(?:a|an|the)\s+")
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t].*$", re.MULTILINE)
_BULLET = re.compile(r"^\s*[-*•#>]+\s+")
_SENTENCES = re.compile(r"(?<=[.!?…])[\"'”’)\]]?\s+(?=[\"“‘(\[]?[^\Wa-z_])|\n+")


@dataclass(frozen=True, slots=True)
class Span:
    """An answer, and the sentence of the text that it stands in."""

    text: str
    sentence: str


def spans(text: str, kind: str, patterns: Mapping[str, str]) -> list[Span]:
    """All different answers of a kind in a text, in the order in which they stand there.

    Args:
        text: the seed.
        kind: `number`, `name`, or a key of `patterns`.
        patterns: regular expressions of other kinds.

    Raises:
        RecipeError: when a pattern takes too long.
    """
    found: dict[str, Span] = {}
    # A heading is capitalised without naming anybody.
    prose_only = _HEADING.sub("", text)
    for sentence in (_BULLET.sub("", one) for one in _SENTENCES.split(prose_only)):
        for said in _within(sentence, kind, patterns):
            if said and len(said) <= _MOST_LETTERS and "\n" not in said:
                found.setdefault(said.casefold(), Span(said, " ".join(sentence.split())))
    return list(found.values())


def _within(sentence: str, kind: str, patterns: Mapping[str, str]) -> list[str]:
    if kind == "number":
        said = (sentence[start:end] for start, end in number_spans(sentence))
        return [one for one in said if numbers_in(one)]  # `one` is more often a pronoun
    if kind == "name":
        return [name for name in names_in(prose(sentence)) if len(name) > 1]
    try:
        return [match.group().strip() for match in regex.finditer(patterns[kind], sentence, timeout=_SEARCH_S)]
    except TimeoutError:
        raise RecipeError(
            f"takes more than {_SEARCH_S:g} s in one sentence", where=f"answers.patterns.{kind}",
            remedy="write it without repeats within repeats",
        ) from None  # fmt: skip


def same(said: str, answer: str, kind: str) -> bool:
    """Whether what was said is the answer: case, articles and a final stop aside; of a number, its value.

    `25 mg` is the number 25, and so is `twenty-five`; `25 or 30` is not.
    """
    if kind == "number" and (numbers := numbers_in(said)):
        return numbers == numbers_in(answer)
    return _bare(said) == _bare(answer)


def _bare(text: str) -> str:
    return _ARTICLES.sub("", normal(text))


def named(question: str, answer: str, kind: str) -> bool:
    """Whether a question names its own answer."""
    if kind == "number" and numbers_in(answer) & numbers_in(question):
        return True
    return stands(answer, question)
