from pathlib import Path

import pytest

from understudy.errors import ModelError
from understudy.models.folders import check_folder, fingerprint


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position_embeddings": 2048}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "a"}')
    (folder / "model.safetensors").write_bytes(b"w" * 1000)
    return folder


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        check_folder(path)
    assert caught.value.where == str(path)
    return caught.value


def test_a_folder_with_config_and_safetensors_is_a_model(model: Path):
    check_folder(model)


def test_a_folder_that_is_not_there_is_told_from_one_without_a_model(tmp_path: Path):
    assert refusal(tmp_path / "none").message == "no such folder"
    error = refusal(tmp_path)
    assert error.message == "no model here"
    assert "config.json" in str(error.expected) and "never downloaded" in str(error.remedy)


def test_pickled_weights_are_not_read(model: Path):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    error = refusal(model)
    assert error.message == "no safetensors weights"
    assert "save_pretrained" in str(error.remedy)


def test_a_model_keeps_its_fingerprint_when_it_moves(model: Path, tmp_path: Path):
    before = fingerprint(model)
    assert fingerprint(model.rename(tmp_path / "moved")) == before
    assert len(before) == 16


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"max_position_embeddings": 4096}'),
        ("tokenizer.json", b'{"a": 1}'),
        ("tokenizer_config.json", b'{"chat_template": "b"}'),
        ("chat_template.jinja", b"{{ messages }}"),
        ("model.safetensors", b"w" * 999 + b"v"),
        ("model.safetensors", b"w" * 1001),
        ("adapter_model.safetensors", b""),
        ("adapter_config.json", b"{}"),
    ],
    ids=[
        "config",
        "tokenizer",
        "template in the tokenizer's config",
        "template",
        "a weight",
        "size",
        "file",
        "adapter",
    ],
)
def test_what_changes_a_reply_changes_the_fingerprint(model: Path, name: str, content: bytes):
    before = fingerprint(model)
    (model / name).write_bytes(content)
    assert fingerprint(model) != before


def test_of_large_weights_the_first_and_last_mebibyte_count(model: Path):
    weights = bytearray(3 * 2**20)
    (model / "model.safetensors").write_bytes(weights)
    before = fingerprint(model)
    for place in (0, 2**20 - 1, 2 * 2**20, 3 * 2**20 - 1):
        changed = bytearray(weights)
        changed[place] = 1
        (model / "model.safetensors").write_bytes(changed)
        assert fingerprint(model) != before
