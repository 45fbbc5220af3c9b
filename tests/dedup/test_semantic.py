import math
import tracemalloc

import faiss
import numpy as np
import pytest

from understudy.dedup import SemanticIndex
from understudy.dedup.semantic import BITS, radius, sketch
from understudy.models import Hashing
from understudy.models.embedder import Matrix

DIMENSIONS = 48


class Given:
    """An embedder that is never asked: the tests bring vectors."""

    name = "given"
    dimensions = DIMENSIONS

    def embed(self, texts: list[str]) -> Matrix:
        raise NotImplementedError


def unit(vectors: Matrix) -> Matrix:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def cloud(rng: np.random.Generator, number: int) -> Matrix:
    return unit(rng.standard_normal((number, DIMENSIONS)).astype(np.float32))


def at(cosine: float, vectors: Matrix, rng: np.random.Generator) -> Matrix:
    """One vector at that cosine of each."""
    aside = cloud(rng, len(vectors))
    aside = unit(aside - (aside * vectors).sum(axis=1, keepdims=True) * vectors)
    return unit(cosine * vectors + math.sqrt(1 - cosine**2) * aside)


def index(threshold: float, vectors: Matrix) -> SemanticIndex:
    made = SemanticIndex(threshold, Given())
    for part in np.array_split(np.arange(len(vectors)), 3):
        made.add([str(place) for place in part], vectors[part])
    return made


def exact(vectors: Matrix, asked: Matrix) -> tuple[str, float]:
    """What an exhaustive search finds."""
    flat = faiss.IndexFlatIP(DIMENSIONS)
    flat.add(vectors)
    scores, places = flat.search(asked[None, :], 1)
    return str(places[0, 0]), float(scores[0, 0])


@pytest.mark.parametrize("page", [7, 16_384], ids=["many pages", "one page"])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.6, 0.9, 0.97])
def test_the_closest_above_the_threshold_is_the_one_that_an_exhaustive_search_finds(
    threshold: float, page: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("understudy.dedup.semantic._PAGE", page)
    rng = np.random.default_rng(0)
    vectors = cloud(rng, 400)
    vectors = np.concatenate([vectors, at(min(0.995, threshold + 0.02), vectors, rng)])
    made = index(threshold, vectors)
    for asked in [*at(min(0.995, threshold + 0.02), vectors[:150], rng), *cloud(rng, 100)]:
        key, score = exact(vectors, asked)
        found = made.nearest(asked)
        if score > threshold + 1e-6:
            assert found is not None and found[0] == key
            assert found[1] == pytest.approx(score, abs=1e-6)
        elif score < threshold - 1e-6:
            assert found is None


@pytest.mark.parametrize("cosine", [0.5, 0.8, 0.9, 0.99])
def test_pairs_just_above_the_threshold_are_hardly_ever_missed(cosine: float):
    rng = np.random.default_rng(1)
    vectors = cloud(rng, 3000)
    near = radius(cosine)
    ones = sketch(vectors)
    others = sketch(at(cosine, vectors, rng))
    distances = np.unpackbits(ones ^ others, axis=1).sum(axis=1)
    assert distances.max() <= near
    assert distances.mean() == pytest.approx(BITS * math.acos(cosine) / math.pi, rel=0.02)


def test_the_radius_is_the_quantile_of_the_binomial_distribution():
    from scipy.stats import binom

    for cosine in (0.05, 0.3, 0.6, 0.9, 0.97, 1 - 1e-6):
        assert radius(cosine) == binom.ppf(1 - 1e-6, BITS, math.acos(cosine) / math.pi)
    assert radius(1.0) == 0


def test_far_texts_are_not_even_read():
    # Otherwise a search would read the whole file: most pairs of texts must lie far outside the radius.
    rng = np.random.default_rng(2)
    vectors = cloud(rng, 500)
    made = index(0.9, vectors)
    assert len(made._proposed(cloud(rng, 1)[0])) < 5


@pytest.mark.parametrize("threshold", [0.9, 1.0])
def test_the_same_text_is_found_at_any_threshold_up_to_rounding(threshold: float):
    vectors = cloud(np.random.default_rng(3), 50)
    made = index(threshold, vectors)
    shaken = unit(vectors[7] + np.float32(2e-7))
    assert made.nearest(vectors[7]) == ("7", 1.0)
    found = made.nearest(shaken)
    assert found is not None and found[0] == "7" and found[1] <= 1.0


def test_at_a_threshold_of_one_a_near_text_is_another():
    rng = np.random.default_rng(4)
    vectors = cloud(rng, 20)
    assert index(1.0, vectors).nearest(at(0.999, vectors[:1], rng)[0]) is None


def test_of_equal_vectors_the_earliest_is_named():
    vectors = cloud(np.random.default_rng(5), 3)
    assert index(0.9, np.concatenate([vectors, vectors])).nearest(vectors[1]) == ("1", 1.0)


def test_a_search_decides_the_same_whatever_stands_beside_the_closest():
    rng = np.random.default_rng(6)
    vectors = cloud(rng, 600)
    asked = at(0.4, vectors[300:301], rng)[0]
    alone = index(0.2, vectors[300:301]).nearest(asked)
    among = index(0.2, vectors).nearest(asked)
    turned = index(0.2, vectors[::-1]).nearest(asked)
    assert alone is not None and among is not None and turned is not None
    assert among[1] >= alone[1]
    assert (among[1], int(among[0])) == (turned[1], 599 - int(turned[0]))


def test_an_empty_index_finds_nothing():
    assert (
        index(0.1, np.empty((0, DIMENSIONS), dtype=np.float32)).nearest(cloud(np.random.default_rng(7), 1)[0]) is None
    )


def test_texts_are_found_by_their_vectors():
    made = SemanticIndex(0.9, Hashing())
    made.add(["a"], made.vector("Why does a lock need no pump?")[None])
    found = made.nearest(made.vector("Why does a lock need no pumps?"))
    assert found is not None and found[0] == "a" and 0.9 < found[1] < 1


def test_memory_does_not_grow_with_the_vectors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("understudy.dedup.semantic._PAGE", 64)
    vectors = cloud(np.random.default_rng(8), 3000)
    made = index(0.9, vectors[:1000])
    tracemalloc.start()
    for place, vector in enumerate(vectors[1000:], start=1000):
        made.add([str(place)], vector[None])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 30_000  # 2,000 sketches would take 128,000
    assert made.nearest(vectors[2000]) == ("2000", 1.0)
