import numpy as np
import pyarrow as pa
import pytest

from understudy.corpus.sample import SAMPLE
from understudy.evals.space import MAPPED, Space
from understudy.nouns import address


def table(rows: list[tuple[str, str, list[float] | None]]) -> pa.Table:
    return pa.table(
        {
            "stage": [stage for stage, _, _ in rows],
            "example": [address(text) for _, text, _ in rows],
            "text": [text for _, text, _ in rows],
            "embedding": pa.array(
                [None if one is None else np.array(one, np.float32).tobytes() for *_, one in rows], pa.binary()
            ),
        }
    )


def test_the_accepted_are_measured_and_those_who_passed_the_gate_counted():
    rows = [("gate", text, [1.0, 0.0]) for text in "abc"]
    space = Space.of([table(rows), table([("final", "a", [1.0, 0.0]), ("final", "b", [0.0, 1.0])])])
    assert (space.admitted, space.accepted, sorted(space.texts)) == (3, 2, ["a", "b"])
    told = space.figures()
    assert told and (told["n"], told["of"], told["dimensions"]) == (2, 2, 2)
    assert told["vendi"] == pytest.approx(2) and told["share"] == pytest.approx(1)


def test_the_order_of_the_index_changes_nothing():
    rows = [("final", f"t{n}", [float(n % 7), 1.0, 2.0]) for n in range(50)]
    one, other = Space.of([table(rows)]), Space.of([table(rows[:20][::-1]), table(rows[20:])][::-1])
    assert one.ids == other.ids and one.texts == other.texts
    assert one.figures() == other.figures()
    assert np.array_equal(one.places()[1], other.places()[1])


def test_of_very_many_an_even_sample_is_measured_and_fewer_are_mapped():
    rows = [("final", f"t{n}", [1.0, float(n % 3)]) for n in range(SAMPLE + 100)]
    space = Space.of([table(rows)])
    assert (space.accepted, len(space.ids)) == (SAMPLE + 100, SAMPLE)
    assert MAPPED < SAMPLE


@pytest.mark.parametrize("lost", [None, [1.0]], ids=["none", "of another embedder"])
def test_without_an_embedding_for_each_nothing_is_said_of_them(lost: list[float] | None):
    space = Space.of([table([("final", "a", [1.0, 0.0]), ("final", "b", lost)])])
    assert space.figures() is None and space.places()[0] == ()
    assert space.accepted == 2 and len(space.texts) == 2


@pytest.mark.parametrize("number", [1, 3, 4, 9])
def test_places_lie_on_the_map(number: int):
    rng = np.random.default_rng(0)
    rows = [("final", f"t{n}", rng.normal(size=4).tolist()) for n in range(number)]
    ids, places = Space.of([table(rows)]).places()
    assert len(ids) == number == len(places)
    assert places.min() >= 0 and places.max() <= 1


def test_an_empty_index_has_nothing():
    space = Space.of([])
    assert (space.admitted, space.accepted, space.figures(), space.places()[0]) == (0, 0, None, ())
