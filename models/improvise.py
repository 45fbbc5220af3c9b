"""Replies without a model: the words of the request, put into whatever form the constraint asks for."""

from __future__ import annotations

import json
import random
import re
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from understudy.models.sm import Constraint
from understudy.nouns import Messages


def improvise(messages: Messages, seed: int, constraint: Constraint | None) -> str:
    """A reply that keeps to the constraint, the same for the same seed and request."""
    rng = random.Random(seed)  # noqa: S311
    words = re.findall(r"[A-Za-z]{3,}", messages[-1]["content"]) or ["nothing"]
    if constraint is None:
        return _sentence(words, rng, 90, 160).capitalize() + "."
    if constraint.kind == "regex":
        return "".join(_write(parser.parse(constraint.value), words, rng))
    return json.dumps(_value(constraint.value, constraint.value, words, rng))


def _value(schema: dict[str, Any], whole: dict[str, Any], words: list[str], rng: random.Random) -> Any:
    """A value that the schema allows; `whole` holds what it refers to."""
    if "$ref" in schema:
        return _value(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole, words, rng)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema["type"] == "object":
        return {name: _value(field, whole, words, rng) for name, field in schema["properties"].items()}
    if schema["type"] == "array":
        return [_value(schema["items"], whole, words, rng) for _ in range(rng.randint(schema.get("minItems", 1), 3))]
    if schema["type"] == "boolean":
        return rng.random() < 0.9
    if "pattern" in schema:
        return "".join(_write(parser.parse(schema["pattern"].strip("^$")), words, rng))
    most = schema.get("maxLength", 120)
    return _sentence(words, rng, min(20, most // 2), min(60, most))


def _sentence(words: list[str], rng: random.Random, least: int, most: int) -> str:
    """Words of at least `least` and at most `most` letters in all."""
    text = ""
    while len(text) < least:
        text = f"{text} {rng.choice(words)}".strip()
    return text[: most - 1] + "x" if len(text) > most else text


def _takes(kinds: Any, char: str) -> bool:
    """Whether a character class has room for a character."""
    negated = kinds[0][0] is code.NEGATE
    named = any(
        (kind is code.LITERAL and value == ord(char)) or (kind is code.RANGE and value[0] <= ord(char) <= value[1])
        for kind, value in kinds
    )
    return negated != named or any(kind is code.CATEGORY for kind, _ in kinds)


def _write(tree: Any, words: list[str], rng: random.Random) -> list[str]:
    """A text that the parsed expression matches; runs of a character class become words."""
    out: list[str] = []
    for kind, value in tree:
        if kind is code.LITERAL:
            out.append(chr(value))
        elif kind is code.SUBPATTERN:
            out += _write(value[3], words, rng)
        elif kind is code.BRANCH:
            out += _write(rng.choice(value[1]), words, rng)
        elif kind in (code.MAX_REPEAT, code.MIN_REPEAT):
            least, most, inner = value
            if inner[0][0] in (code.IN, code.NOT_LITERAL, code.ANY):
                spaced = inner[0][0] is not code.IN or inner[0][1][0][0] is not code.RANGE
                most = min(int(most), 200)
                if inner[0][0] is code.IN and not _takes(inner[0][1], "T"):
                    words = [word.lower() for word in words]
                if inner[0][0] is code.IN and not _takes(inner[0][1], "t"):
                    words = [str(rng.randrange(1, 10**most))] if most < 10 else ["7"]
                text = _sentence(words, rng, max(least, min(150 if spaced else 3, most)), most)
                out.append(text if spaced else text.replace(" ", "_"))
            else:
                out += [part for _ in range(least) for part in _write(inner, words, rng)]
        elif kind is code.IN:
            what, first = value[0]
            out.append(chr(first[0]) if what is code.RANGE else chr(first) if what is code.LITERAL else "x")
        else:
            raise ValueError(f"cannot improvise {kind} of an expression")
    return out
