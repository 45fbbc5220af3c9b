import random
from dataclasses import replace

import numpy as np
import pytest

from understudy.dedup import PairIndex, jaccard, shingles
from understudy.dedup.distinct import near_copies, same_meaning, same_words
from understudy.models import Hashing
from understudy.models.embedder import Matrix
from understudy.nouns import Persona
from understudy.personas import PersonaSet, distinct


class Scripted:
    """Vectors by text: texts of one family lie at the given cosine of its first, families at right angles or so."""

    name = "scripted"
    dimensions = 384

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.vectors: dict[str, Matrix] = {}

    def put(self, text: str, base: str | None = None, cosine: float = 0.0) -> None:
        fresh = self.rng.standard_normal(self.dimensions)
        if base is not None:
            first = self.vectors[base]
            aside = fresh - (fresh @ first) * first
            fresh = cosine * first + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)
        self.vectors[text] = (fresh / np.linalg.norm(fresh)).astype(np.float32)

    def embed(self, texts: list[str]) -> Matrix:
        return np.stack([self.vectors[text] for text in texts])


def sentence(rng: random.Random, words: int = 40) -> list[str]:
    return [f"w{rng.randrange(10**6)}" for _ in range(words)]


def planted() -> tuple[PersonaSet, Scripted, dict[str, set[str]]]:
    """1,000 personas: 800 of their own kind, and copies, paraphrases and traps of some of them."""
    rng, embedder = random.Random(0), Scripted()
    own = [sentence(rng) for _ in range(800)]
    for words in own:
        embedder.put(" ".join(words))
    kinds: dict[str, set[str]] = {"copies": set(), "paraphrases": set(), "traps": set()}

    def plant(kind: str, base: list[str], text: str, cosine: float) -> None:
        embedder.put(text, " ".join(base), cosine)
        kinds[kind].add(text)

    for number in range(100):  # 39 to 40 of 40 words in common, and in another order
        base = own[number]
        copy = base[: 40 - number % 2] + sentence(rng, number % 2)
        assert 0.92 <= jaccard(shingles(" ".join(base)), shingles(" ".join(copy))) <= 1
        plant("copies", base, " ".join(reversed(copy)), 0.995)
    for number in range(60):
        plant("paraphrases", own[100 + number], " ".join(sentence(rng)), 0.93 + number / 1000)
    for number in range(40):  # 37 of 43 words, or 36 of 44
        base = own[200 + number]
        trap = base[3 + number % 2 :] + sentence(rng, 3 + number % 2)
        assert 0.80 <= jaccard(shingles(" ".join(base)), shingles(" ".join(trap))) <= 0.88
        plant("traps", base, " ".join(trap), 0.85 + number / 1000)
    texts = [" ".join(words) for words in own] + sorted(set().union(*kinds.values()))
    rng.shuffle(texts)
    return PersonaSet("planted", "", "MIT", tuple(map(Persona.of, texts))), embedder, kinds


def test_planted_copies_and_paraphrases_go_and_traps_stay():
    full, embedder, kinds = planted()
    assert len(full.personas) == 1000
    made, removed = distinct(full, embedder=embedder)
    pairs = {by: {frozenset((one.persona.text, one.kept.text)) for one in removed if one.by == by}
             for by in ("minhash", "embedding")}  # fmt: skip

    def hit(by: str, kind: str) -> int:
        return sum(bool(pair & kinds[kind]) for pair in pairs[by])

    assert hit("minhash", "copies") >= 95 and hit("minhash", "traps") <= 2
    assert hit("embedding", "paraphrases") == 60 and hit("embedding", "traps") == 0
    assert len(made.personas) == 1000 - len(removed) == 840
    assert made.made == "160 near-copies taken out (words 0.9, meaning 0.9 by scripted)"


def test_the_result_depends_on_no_order_and_a_second_time_nothing_goes():
    full, embedder, _ = planted()
    made, _ = distinct(full, embedder=embedder)
    turned, _ = distinct(replace(full, personas=full.personas[::-1]), embedder=embedder)
    assert {one.id for one in turned.personas} == {one.id for one in made.personas}
    again, removed = distinct(made, embedder=embedder)
    assert removed == [] and again.personas == made.personas


def test_a_lower_threshold_leaves_few_that_differ():
    full, embedder, _ = planted()
    made, removed = distinct(full, embedding=0.5, embedder=embedder)
    assert len(made.personas) == 800
    assert len(removed) == 200


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9, 1.0])
def test_all_at_once_finds_what_one_by_one_finds(threshold: float):
    rng = random.Random(1)
    words = [f"w{number}" for number in range(30)]
    texts = [" ".join(rng.choices(words, k=rng.randint(3, 12))) for _ in range(300)]
    index = PairIndex(threshold, None, None)
    expected = {}
    for number, text in enumerate(texts):
        match, _ = index.offer(str(number), text)
        if match:
            expected[number] = (int(match.key), match.similarity)
    assert same_words(texts, threshold) == expected
    index, expected = PairIndex(None, threshold, Hashing()), {}
    for number, text in enumerate(texts):
        match, _ = index.offer(str(number), text)
        if match:
            expected[number] = (int(match.key), match.similarity)
    assert same_meaning(texts, threshold, Hashing()) == expected


def test_a_thousand_of_the_same_words_leave_one():
    assert len(same_words(["a ward nurse"] * 1000, 0.9)) == 999


def test_nothing_is_near_itself_alone():
    assert near_copies(["a"], 0.9, 0.9, Hashing()) == {}
    assert near_copies([], 0.9, 0.9, Hashing()) == {}


def test_progress_is_told():
    said: list[tuple[str, int]] = []
    near_copies([f"text {number}" for number in range(10)], 0.9, 0.9, Hashing(), lambda *now: said.append(now))
    assert said[0] == ("MinHash", 10) and said[-1][0] == "embeddings"
