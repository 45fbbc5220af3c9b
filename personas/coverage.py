"""How well a persona set covers a domain, and whom it is made of.

A domain is a list of topics, or the documents themselves. A topic is covered when a persona is within reach of it:
the cosine of their embeddings is at least `REACH`. Of 160 topics of six domains (`docs/topics/`), 86 % have
somebody of their own domain's set of sixty within reach under all-MiniLM-L6-v2, and 10 % somebody of another
domain's; no other reach tells the two apart better. Under another embedder, or with sets of another size, choose
another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.corpus.persona_sheets import mapping
from understudy.errors import PersonaError
from understudy.models import Embedder
from understudy.models.embedder import Matrix, embed_all
from understudy.nouns import ATTRIBUTES, Persona, Seed
from understudy.personas.sets import PersonaSet

REACH = 0.36
_TITLE_WORDS = 10
_UNDER = " › "
_TAG = re.compile(r"<[^>]*>")
# An embedder reads the beginning of a text only.
_READ = 1000
_BLOCK = 2048
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that a domain is about."""

    name: str
    text: str
    """What is embedded."""
    seed: Seed
    """What a persona who fills the gap is inferred from."""

    @property
    def headings(self) -> list[str]:
        """The name, heading by heading."""
        return self.name.split(_UNDER)


@dataclass(frozen=True, slots=True)
class Reached:
    """A topic and who is nearest to it."""

    topic: Topic
    nearest: Persona
    similarity: float


@dataclass(frozen=True, slots=True)
class Share:
    """How many personas have one value of an attribute."""

    attribute: str
    value: str
    count: int
    share: float
    """Of those of whom the attribute is known."""
    target: float | None
    alarm: bool
    """The target lies outside of what the count makes likely (Wilson's interval, 95 %)."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How a set covers its topics."""

    reach: float
    topics: tuple[Reached, ...]
    idle: tuple[Persona, ...]
    """Personas with no topic within reach."""
    evenness: float
    """Of how many personas are nearest to each topic (Pielou 1966): 1 when all have as many, 0 when one has all."""
    topic_vectors: Matrix
    persona_vectors: Matrix

    @property
    def gaps(self) -> tuple[Reached, ...]:
        """Topics without anybody in reach, the farthest first."""
        out = (one for one in self.topics if one.similarity < self.reach)
        return tuple(sorted(out, key=lambda one: (one.similarity, one.topic.name)))

    @property
    def share(self) -> float:
        """Share of the topics that are covered."""
        return 1 - len(self.gaps) / len(self.topics)


def topics_in(path: Path) -> list[Topic]:
    """The topics of a text file, one on each line.

    Raises:
        PersonaError: when there are none, or one stands twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise PersonaError("no such file", where=str(path), expected="a text file with a topic on each line") from error
    except UnicodeDecodeError as error:
        raise PersonaError(f"not UTF-8 at byte {error.start}", where=str(path)) from error
    found: dict[str, Topic] = {}
    for number, line in enumerate(lines, start=1):
        name = " ".join(line.split())
        if name in found:
            raise PersonaError(f"{name!r} stands twice", where=f"{path}:{number}", remedy="remove one")
        if name:
            found[name] = Topic(name, name, Seed.of("topic", name, f"{path.name}:{number}"))
    if not found:
        raise PersonaError("no topics", where=str(path), expected="a topic on each line")
    return list(found.values())


def topics_of(seeds: Sequence[Seed]) -> list[Topic]:
    """Each section of documents as a topic, named by its headings; a seed without any, by its first words."""
    out: dict[str, Topic] = {}
    for seed in seeds:
        headings = seed.meta.get("headings") or ()
        name = _UNDER.join(headings) or " ".join(_TAG.sub("", seed.content).split()[:_TITLE_WORDS]) or seed.source
        out.setdefault(name, Topic(name, beginning(seed), seed))
    return list(out.values())


def beginning(seed: Seed) -> str:
    """What of a seed is embedded: its headings, and as much of it as an embedder reads."""
    return " ".join((*(seed.meta.get("headings") or ()), seed.content))[:_READ]


def cover(made: PersonaSet, topics: Sequence[Topic], embedder: Embedder, reach: float = REACH) -> Coverage:
    """Measure how a set covers topics.

    Args:
        made: the set.
        topics: at least one.
        embedder: makes the embeddings of both.
        reach: the least cosine at which a persona covers a topic.
    """
    wanted = embed_all(embedder, [topic.text for topic in topics])
    people = embed_all(embedder, [persona.text for persona in made.personas])
    near = np.full(len(topics), -1.0)
    who = np.zeros(len(topics), dtype=np.int64)
    served: Counter[int] = Counter()
    idle = []
    for start in range(0, len(people), _BLOCK):
        cosines = wanted @ people[start : start + _BLOCK].T
        best = cosines.argmax(axis=1)
        nearer = cosines.max(axis=1) > near
        who = np.where(nearer, best + start, who)
        near = np.maximum(near, cosines.max(axis=1))
        within = cosines.max(axis=0) >= reach
        served.update(cosines.argmax(axis=0)[within].tolist())
        idle += [made.personas[start + int(place)] for place in np.flatnonzero(~within)]
    reached = tuple(
        Reached(topic, made.personas[int(place)], float(cosine))
        for topic, place, cosine in zip(topics, who, near, strict=True)
    )
    return Coverage(reach, reached, tuple(idle), _evenness(served, len(topics)), wanted, people)


def shares(made: PersonaSet, targets: Mapping[str, Mapping[str, float]] | None = None) -> list[Share]:
    """Of each attribute that is known of anybody, how many have which value, the most frequent first.

    Args:
        made: the set.
        targets: by attribute and value, the share that is wanted.
    """
    from scipy.stats import binomtest

    out = []
    for attribute in ATTRIBUTES:
        wanted = (targets or {}).get(attribute, {})
        counts = Counter(one.attributes[attribute] for one in made.personas if attribute in one.attributes)
        known = counts.total()
        for value in sorted({*counts, *wanted}, key=lambda value: (-counts[value], value)):
            target, alarm = wanted.get(value), False
            if target is not None and known:
                interval = binomtest(counts[value], known).proportion_ci(_CONFIDENCE, method="wilson")
                alarm = not interval.low <= target <= interval.high
            out.append(Share(attribute, value, counts[value], counts[value] / max(1, known), target, alarm))
    return out


def targets_in(path: Path) -> dict[str, dict[str, float]]:
    """Wanted shares from a YAML file: `place: {Ghana: 0.1, Peru: 0.1}`.

    Raises:
        PersonaError: naming the file and the key.
    """
    said = mapping(path, "wanted shares, such as `place: {Ghana: 0.1, Peru: 0.1}`")
    for attribute, wanted in said.items():
        if attribute not in ATTRIBUTES:
            raise PersonaError("unknown attribute", where=f"{path}: {attribute}", expected=", ".join(ATTRIBUTES))
        if not isinstance(wanted, dict):
            raise PersonaError("not a mapping", where=f"{path}: {attribute}", expected="a share for each value")
        for value, share in wanted.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise PersonaError(f"got {share!r}", where=f"{path}: {attribute}.{value}", expected="a share in 0..1")
        if sum(wanted.values()) > 1 + 1e-9:
            raise PersonaError("the shares add up to more than 1", where=f"{path}: {attribute}")
    return {name: {str(value): float(share) for value, share in wanted.items()} for name, wanted in said.items()}


def _evenness(served: Counter[int], topics: int) -> float:
    if topics == 1 or not served:
        return float(bool(served))
    parts = np.array(list(served.values())) / served.total()
    return float(-(parts * np.log(parts)).sum() / np.log(topics))
