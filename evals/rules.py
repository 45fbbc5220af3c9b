"""Rules that every example must pass before a judge is asked: cheap, deterministic, each with a score."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import lru_cache

from understudy.nouns import Verdict
from understudy.recipe import Verify


@dataclass(frozen=True, slots=True)
class Pair:
    """An instruction with its answer, and what they were made from."""

    instruction: str
    answer: str
    material: str
    """Seed and passage together."""
    attached: bool
    """Whether the reader of the instruction sees the seed as well."""
    task: str = ""
    """What the instruct agent was told to do; a small SM sometimes hands that on as its own work."""


Rule = Callable[[Pair, Verify], Verdict | None]

_WORD = re.compile(r"\w+")
STOP = frozenset(
    """a about after all also an and any are as at be because been being but by can could did do does for from had
    has have he her his how i if in into is it its like may more most must no not of on one only or other our out
    over she should so some such than that the their them then there these they this those to up use used using
    was we were what when where which who why will with would you your""".split()  # noqa: SIM905
)
"""Words that say nothing about the subject: sharing them is no sign of grounding."""
_POINTING = re.compile(
    r"\b(?:the|this|that|above|given|provided|following)\s+(?:text|passage|article|excerpt|paragraph|document|"
    r"material|table|code|function|conversation|dialogue|story|summary)\b|\b(?:mentioned|described|shown) above\b",
    re.IGNORECASE,
)
_OUT_OF_ROLE = re.compile(
    r"\bas an? (?:ai\b|artificial intelligence|(?:large )?language model)|"
    r"\bi(?:'m| am) (?:sorry|unable|an? (?:ai\b|(?:large )?language model))|"
    r"\bi can(?:no|')t (?:help|assist|answer|provide)|\b(?:ai|language) model\b|<\|",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\bas an? (?:ai\b|artificial intelligence|(?:large )?language model)|\bi(?:'m| am) an? (?:large )?language model|"
    r"\bi(?:'m| am) sorry,? but i (?:can|am)|\bi(?:'m| am) unable to (?:help|assist|write|provide|fulfill)|"
    r"\bi can(?:no|')t (?:help with|assist|write|provide|fulfill)|<\|",
    re.IGNORECASE,
)


def length(pair: Pair, limits: Verify) -> Verdict:
    """The answer is neither too short nor too long."""
    count = len(pair.answer.split())
    passed = limits.min_words <= count <= limits.max_words
    return Verdict("rule/length", passed, float(passed), f"{count} words")


def grounding(pair: Pair, limits: Verify) -> Verdict | None:
    """Enough of the answer's content words occur in the material or the instruction."""
    if limits.min_grounding is None:
        return None
    said = _content(pair.answer)
    known = _content(pair.material) | _content(pair.instruction)
    score = len(said & known) / len(said) if said else 1.0
    evidence = f"not in the seed: {_some(said - known)}"
    return Verdict("rule/grounding", score >= limits.min_grounding, round(score, 4), evidence)


def repetition(pair: Pair, limits: Verify) -> Verdict:
    """The answer does not go round in circles: at most a third of its 4-grams are repeats."""
    said = words(pair.answer)
    distinct, count = len(grams(said, 4)), max(0, len(said) - 3)
    score = distinct / count if count else 1.0
    return Verdict("rule/repetition", score >= 2 / 3, round(score, 4), f"{count - distinct} repeated 4-grams")


def echo(pair: Pair, limits: Verify) -> Verdict:
    """The answer is not the instruction again."""
    asked, said = set(words(pair.instruction)), words(pair.answer)
    parrots = len(said) > 3 and set(said) <= asked
    return Verdict("rule/echo", not parrots, float(not parrots), "repeats the instruction" if parrots else None)


def evidence(pair: Pair, limits: Verify) -> Verdict | None:
    """Enough of the answer's content words stand near one another in the material; that part is the evidence."""
    if limits.min_evidence is None:
        return None
    score, (start, end) = span(pair.answer, pair.material)
    quoted = " ".join(pair.material[start:end].split())
    return Verdict("rule/evidence", score >= limits.min_evidence, round(score, 4), quoted or "nothing")


def span(answer: str, material: str) -> tuple[float, tuple[int, int]]:
    """The part of the material that covers most of an answer's content words: their share, and where it stands.

    A part has at most twice as many words as the answer, and no fewer than twelve.
    """
    said = _content(answer)
    places = [
        (match.start(), match.end(), stem)
        for match in _WORD.finditer(material)
        if (word := match.group().casefold()) not in STOP and (stem := _stem(word)) in said
    ]
    starts = [match.start() for match in _WORD.finditer(material)]
    width = max(12, 2 * len(words(answer)))
    best: tuple[float, tuple[int, int]] = (0.0, (0, 0))
    for first, (start, _, _) in enumerate(places):
        after = bisect_left(starts, start) + width
        limit = starts[after] if after < len(starts) else len(material)
        within = [place for place in places[first:] if place[1] <= limit]
        score = len({stem for *_, stem in within}) / len(said)
        if score > best[0]:
            best = score, (start, within[-1][1])
    return best


def on_topic(pair: Pair, limits: Verify) -> Verdict | None:
    """Enough of what the instruction adds to the agent's own task occurs in the material."""
    if limits.min_grounding is None:
        return None
    own = _content(pair.instruction) - _content(pair.task)
    score = len(own & _content(pair.material)) / len(own) if own else 0.0
    evidence = f"not in the seed: {_some(own - _content(pair.material))}" if own else "repeats the agent's task"
    return Verdict("rule/on-topic", score >= limits.min_grounding, round(score, 4), evidence)


def self_contained(pair: Pair, limits: Verify) -> Verdict:
    """An instruction that travels without its seed does not point at it."""
    hit = None if pair.attached else _POINTING.search(pair.instruction)
    return Verdict("rule/self-contained", hit is None, float(hit is None), f"says {hit.group(0)!r}" if hit else None)


def in_role(pair: Pair, limits: Verify) -> Verdict:
    """Nobody speaks as a model, refuses, or leaks a chat token."""
    hit = _OUT_OF_ROLE.search(pair.answer) or _OUT_OF_ROLE.search(pair.instruction)
    return Verdict("rule/in-role", hit is None, float(hit is None), f"says {hit.group(0)!r}" if hit else None)


def no_refusal(pair: Pair, limits: Verify) -> Verdict:
    """A text that somebody was to write is there: people in it may be sorry, a model may not."""
    hit = _REFUSAL.search(pair.answer)
    return Verdict("rule/in-role", hit is None, float(hit is None), f"says {hit.group(0)!r}" if hit else None)


# What can be said of an instruction alone is said before its answer is paid for.
INSTRUCTION_RULES: tuple[Rule, ...] = (in_role, self_contained, on_topic)
PERSONA_RULES: tuple[Rule, ...] = (in_role, self_contained, repetition)
# What is found in a text stands in it already, and is as long as it is.
RECORD_RULES: tuple[Rule, ...] = (in_role,)
# A text that was written for a label.
LABELLED_RULES: tuple[Rule, ...] = (length, no_refusal, repetition)
RULES: tuple[Rule, ...] = (length, echo, in_role, self_contained, on_topic, repetition, grounding, evidence)


def verdicts(pair: Pair, limits: Verify, rules: tuple[Rule, ...] = RULES) -> tuple[Verdict, ...]:
    """What every rule says; a rule that is switched off says nothing."""
    return tuple(verdict for rule in rules if (verdict := rule(pair, limits)))


def faithful_passage(passage: str, seed: str, limits: Verify) -> Verdict | None:
    """A seed recast in another form still speaks of what the seed speaks of."""
    if limits.min_grounding is None:
        return None
    said = _content(passage)
    score = len(said & _content(seed)) / len(said) if said else 0.0
    evidence = f"not in the seed: {_some(said - _content(seed))}"
    return Verdict("rule/passage", score >= limits.min_grounding, round(score, 4), evidence)


def quality(pair: Pair, limits: Verify) -> float:
    """The mean score of the rules, in 0..1: what the refine loop must not lower."""
    scores = [verdict.score for verdict in verdicts(pair, limits) if verdict.score is not None]
    return sum(scores) / len(scores)


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return _WORD.findall(text.casefold())


def grams(said: list[str], size: int) -> set[tuple[str, ...]]:
    """The runs of so many words."""
    return set(zip(*(said[place:] for place in range(size)), strict=False))


def _some(words: Set[str]) -> str:
    return ", ".join(sorted(words)[:6]) or "nothing"


# The same seed is looked at by several rules, several times a draft.
@lru_cache(maxsize=1024)
def _content(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in words(text) if word not in STOP)


def _stem(word: str) -> str:
    """Light: plural and -ing/-ed endings off, so that `gears` is grounded in `gear`."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
