"""The five nouns that flow through every room, each with a content address as `id`.

A content address is the blake2b-128 of the canonical JSON of what defines the thing, so the same input
gives the same id on every machine, in any order, after any crash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Family = Literal["persona", "transform", "instruct", "refine", "answer", "noise", "judge"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Kind = Literal["text", "table", "code", "dialogue", "persona", "topic"]
ExampleKind = Literal["chat", "preference", "steps", "pair", "row", "persona"]
Status = Literal["accepted", "rejected", "duplicate", "failed"]
Messages = tuple[dict[str, str], ...]


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: one spelling for each value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def address(*parts: Any) -> str:
    """The blake2b-128 of the canonical JSON of `parts`, as 32 hexadecimal digits."""
    return hashlib.blake2b(canonical(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Seed:
    """What the SM starts from: a passage, a few table rows, a piece of code, a person, or the name of a topic."""

    id: str
    kind: Kind
    content: str
    """What the agents read; a table is rendered as Markdown."""
    source: str
    """Where it was read: file, and line, row or page."""
    meta: dict[str, Any] = field(default_factory=dict)
    """`license`, `tokens`, and by kind `headings`, `rows` with `columns`, `language` and `symbol`, or `persona`: the
    fields of a `Persona`."""

    @classmethod
    def of(cls, kind: Kind, content: str, source: str, *, occurrence: int = 0, **meta: Any) -> Seed:
        """A seed whose id hashes its kind and content, not its path: moving a folder changes nothing.

        `occurrence` counts identical seeds, so that each of a thousand equal rows is accounted for.
        """
        return cls(address("seed", kind, content, occurrence), kind, content, source, meta)


ATTRIBUTES = ("role", "domain", "expertise", "place", "age")
"""What may be known of a persona, each in a few words; `age` is a band, such as 30-39."""


@dataclass(frozen=True, slots=True)
class Persona:
    """Whose part the SM plays, in one or two sentences."""

    id: str
    text: str
    origin: Literal["text", "relation"]
    """`text`: inferred from a text or written by hand; `relation`: inferred from another persona."""
    parent: str | None = None
    """Id of the persona that this one is related to."""
    relation: str | None = None
    hop: int = 0
    """How many relations away from a persona that was inferred from a text."""
    source: str | None = None
    """What text it was inferred from: the id of a seed, or how its publisher calls it."""
    attributes: dict[str, str] = field(default_factory=dict, hash=False)
    """What is known of the person, by name (`ATTRIBUTES`); nothing of it is required."""

    @classmethod
    def of(cls, text: str, origin: Literal["text", "relation"] = "text", **more: Any) -> Persona:
        """A persona whose id hashes its text."""
        return cls(address("persona", text), text, origin, **more)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the SM and what came back."""

    key: str
    """Hash of everything that determines the reply; it also seeds the sampler."""
    agent: str
    model: str
    messages: Messages
    sampling: dict[str, Any]
    reply: str | None
    """None when the engine gave none; never an error text."""
    usage: dict[str, int]
    """`prompt` and `completion` tokens, and how many of the prompt's were `cached` by the engine."""
    seconds: float
    error: str | None = None
    parent: str | None = None
    """Key of the call whose reply this one builds on."""
    sm: str = "sm"
    """Which of the recipe's SMs was asked, by its name there."""
    reused: bool = False
    """Taken from another corpus: its tokens and seconds were paid for there."""
    at: float | None = None
    """When it was asked, in Unix seconds; `seconds` run from here. None in journals of earlier versions."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one verifier said of one example."""

    by: str
    passed: bool
    score: float | None = None
    """In 0..1; None means not scored, never zero."""
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """How an instruction and its answer stood after one step: the trajectory of an example is a list of these."""

    by: str
    """The agent that wrote it."""
    round: int
    """Which round of refinement; 0 for the first answer and the candidates beside it."""
    instruction: str
    answer: str
    outcome: str
    """`kept`, or why it was not: `no gain`, `repetition`, a rule's name, how it lost to another candidate."""
    passage: str | None = None
    """What it was made from, where that is not the seed itself."""
    answerable: bool = True
    """False: the material does not answer the instruction, on purpose."""
    score: float | None = None
    """How good the rules find it, in 0..1."""


@dataclass(frozen=True, slots=True)
class Example:
    """One draft with its fate: what was written, by whom, from what, and why it was kept or not."""

    id: str
    kind: ExampleKind
    payload: dict[str, Any]
    """`messages`, in the standard role/content form; of a `persona`, its text as the assistant's. `answerable` is
    there, and false, where the answer says that the material has none."""
    seed: str
    draw: int
    """Which draw of its seed this is, from 0."""
    persona: Persona | None
    parents: tuple[str, ...]
    """Ids of what it was made from; for a duplicate, the id of the example that stays."""
    path: tuple[str, ...]
    """The agents that made it, in order."""
    calls: tuple[str, ...]
    """Keys of the SM calls behind it, in order: the way into the journal."""
    scores: dict[str, float]
    verdicts: tuple[Verdict, ...]
    status: Status
    reason: str | None = None
    versions: tuple[Version, ...] = ()
    """How it came to be, step by step, and what was not taken; empty where there was one version only."""

    @staticmethod
    def address(kind: ExampleKind, payload: dict[str, Any], seed: str, draw: int) -> str:
        """The id of an example: its content and the draw that made it."""
        return address("example", kind, payload, seed, draw)
