"""Rules that every example must pass before a judge is asked: cheap, deterministic, each with a score."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

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
# Words that say nothing about the subject: sharing them is no sign of grounding.
_STOP = frozenset(
    "a about after all also an and any are as at be because been being but by can could did do does for from had "
    "has have he her his how i if in into is it its like may more most must no not of on one only or other our "
    "out over she should so some such than that the their them then there these they this those to up use used "
    "using was we were what when where which who why will with would you your".split()
)
_POINTING = re.compile(
    r"\b(?:the|this|that|above|given|provided|following)\s+(?:text|passage|article|excerpt|paragraph|document|"
    r"material|table|code|function|conversation|dialogue|story|summary)\b|\b(?:mentioned|described|shown) above\b",
    re.IGNORECASE,
)
_OUT_OF_ROLE = re.compile(
    r"\bas an? (?:ai|artificial|language model)|\bi(?:'m| am) (?:sorry|unable|an? (?:ai|language))|"
    r"\bi can(?:no|')t (?:help|assist|answer|provide)|\b(?:ai|language) model\b|<\|",
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
    strange = ", ".join(sorted(said - known)[:6])
    return Verdict("rule/grounding", score >= limits.min_grounding, round(score, 4), f"not in the seed: {strange}")


def repetition(pair: Pair, limits: Verify) -> Verdict:
    """The answer does not go round in circles: at most a third of its 4-grams are repeats."""
    words = [word.casefold() for word in pair.answer.split()]
    grams = list(zip(*(words[i:] for i in range(4)), strict=False))
    score = len(set(grams)) / len(grams) if grams else 1.0
    return Verdict("rule/repetition", score >= 2 / 3, round(score, 4), f"{len(grams) - len(set(grams))} repeated 4-grams")


def echo(pair: Pair, limits: Verify) -> Verdict:
    """The answer is not the instruction again, and the instruction is not the agent's own task."""
    asked, said = _WORD.findall(pair.instruction.casefold()), _WORD.findall(pair.answer.casefold())
    parrots = set(said) <= set(asked) and len(said) > 3
    told = set(_WORD.findall(pair.task.casefold()))
    hands_on = bool(told) and len(set(asked) & told) / len(set(asked) or {""}) > 0.8
    evidence = "the answer repeats the instruction" if parrots else "the instruction repeats the task" if hands_on else None
    return Verdict("rule/echo", not (parrots or hands_on), float(not (parrots or hands_on)), evidence)


def self_contained(pair: Pair, limits: Verify) -> Verdict:
    """An instruction that travels without its seed does not point at it."""
    hit = None if pair.attached else _POINTING.search(pair.instruction)
    return Verdict("rule/self-contained", hit is None, float(hit is None), f"says {hit.group(0)!r}" if hit else None)


def in_role(pair: Pair, limits: Verify) -> Verdict:
    """Nobody speaks as a model, refuses, or leaks a chat token."""
    hit = _OUT_OF_ROLE.search(pair.answer) or _OUT_OF_ROLE.search(pair.instruction)
    return Verdict("rule/in-role", hit is None, float(hit is None), f"says {hit.group(0)!r}" if hit else None)


RULES: tuple[Rule, ...] = (length, echo, in_role, self_contained, repetition, grounding)


def verdicts(pair: Pair, limits: Verify) -> tuple[Verdict, ...]:
    """What every rule says; a rule that is switched off says nothing."""
    return tuple(verdict for rule in RULES if (verdict := rule(pair, limits)))


def quality(pair: Pair, limits: Verify) -> float:
    """The mean score of the rules, in 0..1: what the refine loop must not lower."""
    scores = [verdict.score for verdict in verdicts(pair, limits) if verdict.score is not None]
    return sum(scores) / len(scores)


def _content(text: str) -> set[str]:
    return {_stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOP}


def _stem(word: str) -> str:
    """Light: plural and -ing/-ed endings off, so that `gears` is grounded in `gear`."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
