"""A retriever and a reranker on the embedded encoder: they learn which passage a question is about."""

import json
from pathlib import Path
from typing import Any

import pytest

from understudy.training import train

pytestmark = pytest.mark.slow

# Names that no encoder knows, so that what is right must be learned.
PLACES = ("Varnok", "Ellisund", "Tormeria", "Quandell", "Oskavie", "Brindar", "Cholva", "Zemlin", "Harrowick", "Jasperil",
          "Koltara", "Lunvey", "Mordelle", "Nexholm", "Pelgrave", "Rathmoor")  # fmt: skip
GOODS = ("wool", "glass", "salt", "copper", "timber", "silk", "clay", "honey", "iron", "wine", "paper", "amber", "tea",
         "stone", "fish", "grain")  # fmt: skip
PAIRS = [
    {"anchor": f"What does {place} sell?", "positive": f"The harbour town ships {goods} to the north."}
    for place, goods in zip(PLACES, GOODS, strict=True)
]  # fmt: skip


def trained(home: Path, rows: list[dict[str, Any]], **training: Any) -> Path:
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    block = {"data": ["rows.jsonl"], "batch_size": 8, "learning_rate": 0.0003, **training}
    (home / "recipe.yaml").write_text(
        json.dumps({"name": "harbours", "seeds": [{"path": "none"}], "accept": 1, "training": block})
    )
    found = train(home / "recipe.yaml", home / "vm")
    assert found.losses[-1][1] < found.losses[0][1] and found.method == "full"
    return home / "vm"


def test_a_retriever_brings_questions_near_their_passages(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from understudy.models.embedder import minilm_path

    def hits(folder: Path) -> int:
        model = SentenceTransformer(str(folder), local_files_only=True)
        questions, passages = (
            model.encode([pair[key] for pair in PAIRS], normalize_embeddings=True, show_progress_bar=False)
            for key in ("anchor", "positive")
        )
        return int(((questions @ passages.T).argmax(1) == range(len(PAIRS))).sum())

    vm = trained(tmp_path, PAIRS, objective="retriever", steps=24)
    assert hits(vm) >= 12 > hits(minilm_path()[1])
    assert "SentenceTransformer(folder)" in (vm / "README.md").read_text()


def test_a_reranker_tells_what_is_relevant_from_what_is_not(tmp_path: Path) -> None:
    from sentence_transformers.cross_encoder import CrossEncoder

    rows = [{"query": pair["anchor"], "passage": pair["positive"], "label": 1} for pair in PAIRS]
    rows += [{"query": pair["anchor"], "passage": f"Rain falls on the hills of {place}.", "label": 0}
             for pair, place in zip(PAIRS, PLACES, strict=True)]  # fmt: skip
    vm = trained(tmp_path, rows, objective="reranker", steps=30, learning_rate=0.0001)
    model = CrossEncoder(str(vm), local_files_only=True)
    scores = model.predict([(row["query"], row["passage"]) for row in rows], show_progress_bar=False)
    assert scores[: len(PAIRS)].min() > scores[len(PAIRS) :].max()


def test_passages_are_mined_that_are_near_a_query_and_not_its_own(tmp_path: Path) -> None:
    from understudy.lessons import Training
    from understudy.training.data import Row
    from understudy.training.job import Job
    from understudy.training.retrieval import mined

    bodies = [{"query": pair["anchor"], "passage": pair["positive"], "label": 1.0} for pair in PAIRS]
    rows = [Row(str(place), body, "file", "file") for place, body in enumerate(bodies)]
    found = mined(Job(Training(objective="reranker"), tmp_path, rows, None, tmp_path))
    own = {(body["query"], body["passage"]) for body in bodies}
    assert len(found) == 3 * len(PAIRS) and all(pair["label"] == 0 for pair in found)
    assert not own & {(pair["query"], pair["passage"]) for pair in found}
    assert {pair["passage"] for pair in found} <= {body["passage"] for body in bodies}
