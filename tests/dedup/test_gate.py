import asyncio
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from understudy.corpus.folder import INDEX
from understudy.dedup import Gate, Match, PairIndex, draft_key, turn_of
from understudy.models import Hashing
from understudy.models.embedder import Matrix

SUBJECTS = ["lock gate", "stone bridge", "bread oven", "river mill", "copper lamp"]
TEXTS = [
    f"Why does the {subject} matter to people who live {place} near the old canal today{end}"
    for place in ("north", "south")
    for subject in SUBJECTS
    for end in ("?", "!", " then?")
]


class Compass:
    """An embedder whose vectors are looked up by text: what is near what can be seen in the test."""

    name = "compass"
    dimensions = 2

    def __init__(self, **degrees: float) -> None:
        self.degrees = degrees
        self.asked: list[str] = []

    def embed(self, texts: list[str]) -> Matrix:
        self.asked += texts
        angles = np.radians([self.degrees[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def shuffled(seed: int) -> list[str]:
    return random.Random(seed).sample(TEXTS, len(TEXTS))


def in_order(texts: list[str]) -> dict[int, Match | None]:
    pair = PairIndex(0.9, 0.95, Hashing())
    return {turn: pair.offer(draft_key(turn), text)[0] for turn, text in enumerate(texts)}


def as_from_zero(match: Match | None, first: int) -> Match | None:
    """What the gate says in a plan that starts at `first`, as if it started at 0."""
    turn = turn_of(match.key) if match else None
    return replace(match, key=draft_key(turn - first)) if match and turn is not None else match


async def through_gate(
    texts: list[str], rng: random.Random, dropouts: set[int], first: int = 0
) -> dict[int, Match | None]:
    gate = Gate(PairIndex(0.9, 0.95, Hashing()), first)
    fates: dict[int, Match | None] = {}

    async def draft(turn: int, text: str) -> None:
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        if turn - first in dropouts:
            gate.leave(turn)
        else:
            fates[turn - first] = as_from_zero(await gate.admit(turn, text), first)
            gate.leave(turn)

    drafts = [draft(turn, text) for turn, text in enumerate(texts, start=first)]
    rng.shuffle(drafts)
    await asyncio.wait_for(asyncio.gather(*drafts), 20)
    return fates


@pytest.mark.parametrize("seed", range(8))
async def test_the_gate_decides_the_same_in_any_order_of_arrival(seed: int):
    texts = shuffled(seed % 2)
    fates = await through_gate(texts, random.Random(seed), set())
    assert fates == in_order(texts)
    assert 0 < sum(match is not None for match in fates.values()) < len(texts)


@pytest.mark.parametrize("seed", range(4))
async def test_drafts_that_drop_out_hold_nobody_up_and_count_for_nothing(seed: int):
    texts = shuffled(3)
    dropouts = set(random.Random(seed).sample(range(len(texts)), 10))
    fates = await through_gate(texts, random.Random(seed), dropouts)
    pair = PairIndex(0.9, 0.95, Hashing())
    expected = {t: pair.offer(draft_key(t), text)[0] for t, text in enumerate(texts) if t not in dropouts}
    assert fates == expected


async def test_a_gate_can_start_in_the_middle_of_a_plan():
    texts = shuffled(1)[:12]
    assert await through_gate(texts, random.Random(0), {0, 5}, first=1000) == await through_gate(
        texts, random.Random(1), {0, 5}
    )


async def test_of_twins_the_earlier_turn_stays_even_if_it_arrives_later():
    gate = Gate(PairIndex(0.9, None, None), 0)
    late = asyncio.create_task(gate.admit(1, "Why does a lock need no pump?"))
    await asyncio.sleep(0.02)
    assert not late.done()
    assert await gate.admit(0, "Why does a lock need no pump?") is None
    assert await late == Match("#0", "minhash", 1.0)


async def test_a_turn_that_leaves_twice_or_after_passing_changes_nothing():
    gate = Gate(PairIndex(0.9, None, None), 0)
    gate.leave(1)
    gate.leave(1)
    assert await gate.admit(0, "Why does a lock need no pump?") is None
    gate.leave(0)
    assert await asyncio.wait_for(gate.admit(2, "What is a sluice for?"), 5) is None


async def test_a_turn_that_gave_up_waiting_can_still_leave():
    gate = Gate(PairIndex(0.9, None, None), 0)
    waiting = asyncio.create_task(gate.admit(1, "words"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.leave(1)
    assert await gate.admit(0, "other words") is None
    assert await asyncio.wait_for(gate.admit(2, "more of them"), 5) is None


async def test_what_a_turn_added_is_taken_once_and_a_duplicate_added_nothing():
    gate = Gate(PairIndex(0.9, None, None), 0)
    await gate.admit(0, "Why does a lock need no pump?")
    await gate.admit(1, "Why does a lock need no pump?")
    row = gate.take_row(0)
    assert row is not None and (row["example"], row["text"]) == ("#0", "Why does a lock need no pump?")
    assert gate.take_row(0) is None
    assert gate.take_row(1) is None


def stored(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a run folder gives them back."""
    return pa.Table.from_pylist(rows, schema=pa.schema([field for field in INDEX if field.name != "stage"]))


def test_restored_rows_decide_like_the_offers_they_came_from():
    texts = shuffled(5)
    fresh = PairIndex(0.9, 0.95, Hashing())
    rows = [row for key, text in enumerate(texts[:15]) for match, row in [fresh.offer(str(key), text)] if match is None]
    restored = PairIndex(0.9, 0.95, Hashing())
    restored.restore(stored(rows[:10]))
    restored.restore(stored(rows[10:]))
    later = list(enumerate(texts, start=100))
    assert [restored.offer(str(k), t)[0] for k, t in later] == [fresh.offer(str(k), t)[0] for k, t in later]


def test_rows_of_another_embedder_or_without_a_signature_are_computed_again():
    row = {"example": "a", "text": "Why does a lock need no pump?", "signature": None, "embedding": b"\0\0\0\0"}
    pair = PairIndex(0.9, 0.95, Hashing())
    pair.restore(stored([row]))
    assert pair.offer("b", row["text"])[0] == Match("a", "minhash", 1.0)
    other = PairIndex(None, 0.95, Hashing())
    other.restore(stored([row]))
    match = other.offer("b", row["text"])[0]
    assert match is not None and (match.key, match.by) == ("a", "embedding")


def test_the_words_are_compared_first_and_the_meaning_is_not_paid_for_then():
    compass = Compass(a=0, b=90)
    pair = PairIndex(0.9, 0.95, compass)
    assert pair.offer("1", "a")[0] is None
    assert pair.offer("2", "a")[0] == Match("1", "minhash", 1.0)
    assert compass.asked == ["a"]


def test_texts_of_other_words_that_mean_the_same_are_one():
    pair = PairIndex(0.9, 0.95, Compass(car=0, auto=10, lorry=45))
    assert pair.offer("1", "car")[0] is None
    match, row = pair.offer("2", "auto")
    assert match is not None and (match.key, match.by) == ("1", "embedding")
    assert match.similarity == pytest.approx(np.cos(np.radians(10)), abs=1e-6)
    assert row == {}
    assert pair.offer("3", "lorry")[0] is None  # cos 45° = 0.707


def test_each_text_is_compared_with_those_that_stayed_only():
    pair = PairIndex(None, 0.95, Compass(a=0, b=15, c=30))
    assert [match.key if (match := pair.offer(text, text)[0]) else None for text in "abc"] == [None, "a", None]


def test_of_two_equally_close_meanings_the_earlier_is_named():
    pair = PairIndex(None, 0.7, Compass(a=0, b=80, c=40))
    match = [pair.offer(text, text)[0] for text in "abc"][-1]
    assert match is not None and match.key == "a"


@pytest.mark.parametrize(
    ("minhash", "embedding", "found"),
    [(0.9, 0.99, "minhash"), (None, 0.99, "embedding"), (0.9, None, "minhash"), (None, None, None)],
    ids=["both", "embedding only", "minhash only", "neither"],
)
def test_either_pass_can_be_switched_off(minhash: float | None, embedding: float | None, found: str | None):
    pair = PairIndex(minhash, embedding, Hashing())
    _, row = pair.offer("a", "Why does it float?")
    assert (row["signature"] is not None, row["embedding"] is not None) == (minhash is not None, embedding is not None)
    match = pair.offer("b", "Why does it float?")[0]
    assert (match.by if match else None) == found


def test_the_similarity_of_a_meaning_never_exceeds_one():
    pair = PairIndex(None, 0.5, Hashing())
    pair.offer("a", "Why does it float?")
    match = pair.offer("b", "Why does it float?")[0]
    assert match is not None and match.similarity <= 1.0


def test_a_draft_is_named_by_its_turn_and_an_example_is_no_draft():
    assert turn_of(draft_key(12)) == 12
    assert [turn_of(key) for key in ("58da79554a98", "12", "earlier/58da", "#12/58da", "#")] == [None] * 5


def test_a_known_row_of_the_same_text_spares_the_embedding_and_of_another_text_does_not():
    compass = Compass(a=0, b=90)
    _, row = PairIndex(0.9, 0.95, compass).offer("1", "a")
    accepted = PairIndex(0.9, 0.95, compass)
    assert accepted.offer("id a", "a", row)[0] is None
    assert accepted.offer("id b", "b", row)[0] is None
    assert compass.asked == ["a", "b"]
    match = accepted.offer("again", "a", row)[0]
    assert match is not None and match.key == "id a"
