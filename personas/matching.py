"""Who is drawn from a set for which seed: anybody, the nearest in meaning, or everybody before anybody comes again.

Each way depends on the recipe's seed, the seed and the draw alone, never on what runs beside it.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import numpy as np

from understudy.models import Embedder
from understudy.models.embedder import Matrix, embed_all
from understudy.nouns import Persona, Seed
from understudy.personas.coverage import beginning
from understudy.personas.sets import PersonaSet

Draw = Literal["uniform", "relevance", "spread"]


class Matching:
    """Draws personas from a set.

    Args:
        members: the set.
        draw: `uniform`, each as likely as the others; `relevance`, in the n-th draw of a seed the n-th nearest to it
            by the cosine of their embeddings; `spread`, a new order of all for each round through the set.
        seed: the run's random seed.
        embedder: needed for `relevance`.
    """

    def __init__(
        self, members: PersonaSet, draw: Draw = "uniform", seed: int = 0, embedder: Embedder | None = None
    ) -> None:
        self.members = members
        self._draw = draw
        self._seed = seed
        self._embedder = embedder
        self._vectors: Matrix | None = None
        self._round: tuple[int, list[int]] = (-1, [])

    @property
    def embeds(self) -> bool:
        """Whether a draw takes milliseconds of CPU, better spent on another thread."""
        return self._draw == "relevance"

    def pick(self, seed: Seed, draw: int, turn: int, rng: Random) -> Persona:
        """Who is drawn for a draw of a seed, which has this turn in the plan.

        `rng` is that of the draft.
        """
        people = self.members.personas
        if self._draw == "relevance":
            return people[self._nearest(seed, draw % len(people))]
        if self._draw == "spread":
            number, place = divmod(turn, len(people))
            if self._round[0] != number:
                order = list(range(len(people)))
                Random(f"{self._seed}:{number}:personas").shuffle(order)  # noqa: S311
                self._round = (number, order)
            return people[self._round[1][place]]
        return rng.choice(people)

    def _nearest(self, seed: Seed, rank: int) -> int:
        if self._embedder is None:
            raise ValueError("relevance needs an embedder")
        if self._vectors is None:
            self._vectors = embed_all(self._embedder, [persona.text for persona in self.members.personas])
        cosines = self._vectors @ self._embedder.embed([beginning(seed)])[0]
        return int(np.argsort(-cosines, kind="stable")[rank])
