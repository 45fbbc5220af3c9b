"""Near-copies of personas taken out, in two passes (Persona Hub, arXiv 2406.20094, 2.3).

Of two that are near each other the one with the smaller id stays; ids are hashes of the texts, so the result does not
depend on the order of the set, and a second time nothing is left to take out.
"""

from __future__ import annotations

from dataclasses import dataclass

from understudy.dedup import Watch, near_copies
from understudy.models import Embedder
from understudy.nouns import Persona
from understudy.personas.sets import PersonaSet


@dataclass(frozen=True, slots=True)
class Removed:
    """A persona that was taken out."""

    persona: Persona
    kept: Persona
    """The one that it is near to."""
    by: str
    """`minhash` or `embedding`."""
    similarity: float


def distinct(
    full: PersonaSet,
    *,
    minhash: float | None = 0.9,
    embedding: float | None = 0.9,
    embedder: Embedder | None = None,
    watch: Watch | None = None,
) -> tuple[PersonaSet, list[Removed]]:
    """The set without near-copies, its members in their order, and what was taken out.

    Args:
        full: the set.
        minhash: personas whose words have a Jaccard similarity above this are near; None: words are not compared.
        embedding: personas whose embeddings have a cosine above this are near; 0.5 leaves few that differ much.
        embedder: makes the embeddings; without one they are not compared.
        watch: told what is being done, and how many personas are done.
    """
    ranked = sorted(full.personas, key=lambda persona: persona.id)
    found = near_copies([persona.text for persona in ranked], minhash, embedding, embedder, watch)
    removed = [
        Removed(ranked[number], ranked[one.kept], one.by, one.similarity) for number, one in sorted(found.items())
    ]
    gone = {one.persona.id for one in removed}
    passes = [] if minhash is None else [f"words {minhash:g}"]
    if embedding is not None and embedder is not None:
        passes.append(f"meaning {embedding:g} by {embedder.name}")
    made = f"{len(removed)} near-copies taken out ({', '.join(passes)})"
    return full.with_members((one for one in full.personas if one.id not in gone), made), removed
