import importlib.util
import json
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import ModelError
from understudy.models import Hashing, open_embedder


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5))
def test_hashed_texts_are_rows_of_length_one_whatever_they_hold(texts: list[str]):
    vectors = Hashing().embed(texts)
    assert vectors.shape == (len(texts), 512) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_text_has_the_same_vector_alone_and_among_others():
    texts = ["Why does it float?", "What is a lock?", ""]
    together = Hashing().embed(texts)
    assert all((Hashing().embed([text])[0] == together[row]).all() for row, text in enumerate(texts))


def test_spelling_variants_come_out_close_and_other_texts_do_not():
    one, same, variant, other = Hashing().embed(
        [
            "Why does a lock need no pump?",
            "why does a  LOCK need no pump?",
            "Why do locks need no pumps?",
            "Bake bread.",
        ]
    )
    assert one @ same == pytest.approx(1, abs=1e-6)
    assert one @ variant > 0.6 > 0.2 > one @ other


def test_half_an_emoji_has_a_vector():
    assert Hashing().embed(["\ud83d"]).shape == (1, 512)


def test_the_hashing_embedder_needs_nothing_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert open_embedder("hashing").name == "hashing-512"


def test_without_sentence_transformers_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="need sentence-transformers") as caught:
        open_embedder("embedded")
    assert "dedup.embedder: hashing" in str(caught.value.remedy)


def test_without_the_embedded_model_s_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: ModuleSpec(name, None) if name == "sentence_transformers" else None
    )
    with pytest.raises(ModelError, match="package is not installed") as caught:
        open_embedder("embedded")
    assert "understudy[local]" in str(caught.value.remedy)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))


def test_a_folder_without_a_model_is_named(installed: None, tmp_path: Path):
    with pytest.raises(ModelError, match="no sentence-transformers model here") as caught:
        open_embedder("mine", tmp_path)
    assert caught.value.where == str(tmp_path / "mine")
    assert "modules.json" in str(caught.value.expected)


@pytest.mark.parametrize(
    "key", ["word_embedding_dimension", "embedding_dimension"], ids=["before version 6", "since version 6"]
)
def test_a_folder_says_how_long_its_vectors_are(installed: None, tmp_path: Path, key: str):
    (tmp_path / "mine" / "1_Pooling").mkdir(parents=True)
    (tmp_path / "mine" / "modules.json").write_text("[]")
    (tmp_path / "mine" / "1_Pooling" / "config.json").write_text(json.dumps({key: 384}))
    embedder = open_embedder("mine", tmp_path)
    assert (embedder.name, embedder.dimensions) == ("mine", 384)


@pytest.mark.parametrize("pooling", [None, "{}", "not JSON"], ids=["missing", "empty", "damaged"])
def test_a_folder_that_does_not_say_how_long_its_vectors_are_is_named(
    installed: None, tmp_path: Path, pooling: str | None
):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text("[]")
    if pooling is not None:
        (tmp_path / "1_Pooling" / "config.json").write_text(pooling)
    with pytest.raises(ModelError) as caught:
        open_embedder(".", tmp_path)
    assert str(tmp_path) in str(caught.value.where)
