from collections import Counter
from random import Random

import numpy as np
import pytest

from understudy.models.embedder import Hashing, Matrix
from understudy.nouns import Persona, Seed
from understudy.personas import PersonaSet
from understudy.personas.matching import Draw, Matching

TRADES = ("baker", "miller", "farmer", "grocer", "driver")
PEOPLE = PersonaSet("village", "", "CC0-1.0", tuple(Persona.of(f"A {trade}.") for trade in TRADES))
SEEDS = [Seed.of("text", f"What the {trade} does.", f"{trade}.md:1") for trade in TRADES]


def drawn(draw: Draw, seed: int = 0) -> list[Persona]:
    """Two draws of each seed, in the order of the plan."""
    matching = Matching(PEOPLE, draw, seed, Trades())
    turns = [(one, number) for number in range(2) for one in SEEDS]
    return [
        matching.pick(one, number, turn, Random(f"{seed}:{one.id}:{number}"))
        for turn, (one, number) in enumerate(turns)
    ]


class Trades:
    """One direction for each trade; a farmer is not far from a miller."""

    name = "trades"
    dimensions = len(TRADES)

    def embed(self, texts: list[str]) -> Matrix:
        out = np.array([[trade in text for trade in TRADES] for text in texts], dtype=np.float32)
        out[:, 1] += 0.5 * out[:, 2]
        return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.mark.parametrize("draw", ["uniform", "relevance", "spread"])
def test_who_is_drawn_can_be_said_again(draw: Draw):
    assert drawn(draw) == drawn(draw)


@pytest.mark.parametrize("draw", ["uniform", "spread"])
def test_another_seed_draws_others(draw: Draw):
    assert drawn(draw) != drawn(draw, seed=1)


def test_spread_draws_everybody_before_anybody_twice():
    found = drawn("spread")
    assert set(found[:5]) == set(found[5:]) == set(PEOPLE.personas)
    assert found[:5] != found[5:]  # a new order each time


def test_relevance_draws_the_nearest_first_and_then_the_next():
    found = drawn("relevance")
    assert found[:5] == list(PEOPLE.personas)
    assert found[5 + 1] == PEOPLE.personas[2] and found[5 + 2] == PEOPLE.personas[1]


def test_uniform_draws_each_as_often():
    matching = Matching(PEOPLE)
    counts = Counter(matching.pick(SEEDS[0], n, n, Random(n)) for n in range(5000))
    assert all(900 < count < 1100 for count in counts.values())


def test_turns_in_any_order_draw_the_same():
    matching = Matching(PEOPLE, "spread")
    ahead = {turn: matching.pick(SEEDS[0], 0, turn, Random()) for turn in (12, 3, 7, 0, 11)}
    again = {turn: matching.pick(SEEDS[0], 0, turn, Random()) for turn in sorted(ahead)}
    assert ahead == again


def test_relevance_needs_an_embedder():
    with pytest.raises(ValueError, match="embedder"):
        Matching(PEOPLE, "relevance").pick(SEEDS[0], 0, 0, Random())
    assert Matching(PEOPLE, "relevance", embedder=Hashing()).pick(SEEDS[2], 0, 0, Random()) == PEOPLE.personas[2]
