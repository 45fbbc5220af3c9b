"""What goes to the Hub and what stays here, over a Hub that only writes down what it is sent."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

Call = Callable[..., Any]


class Hub:
    """Stands in for `HfApi`."""

    def __init__(self) -> None:
        self.private: bool | None = None
        self.error: Exception | None = None
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo_id: str, *, private: bool, repo_type: str, exist_ok: bool) -> Any:
        if self.error is not None:
            raise self.error
        self.made.append({"repo": repo_id, "private": private, "type": repo_type})
        if self.private is None:
            self.private = private
        return f"https://hub.example/{repo_id}"

    def repo_info(self, repo_id: str, *, repo_type: str) -> Any:
        return SimpleNamespace(private=self.private)

    def upload_folder(self, *, repo_id: str, folder_path: str, repo_type: str, commit_message: str) -> None:
        root = Path(folder_path)
        self.files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **_: made)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return made


@pytest.fixture
def vm(tmp_path: Path) -> Path:
    folder = tmp_path / "tutor"
    for name, text in {
        "adapter_model.safetensors": "weights", "README.md": "# VM", "tokenizer.json": '{"model": {"/usr/bin": 1}}',
        "training_args.bin": "pickle", "rng.pth": "pickle", "old/optimizer.pt": "pickle", ".cache/x": "hidden",
        ".env": "secret", "old/notes.md": "notes",
        "adapter_config.json": json.dumps({"base_model_name_or_path": "/home/ada/models/base", "r": 8}),
        "understudy.json": json.dumps({"base": "b@1", "base_path": "/home/ada/models/base", "losses": [[1, 2.0]],
                                       "corpus": "C:\\Users\\ada\\corpus", "files": {"/home/ada/x.jsonl": "d"}}),
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_vm_goes_up_privately_without_pickles_hidden_files_and_paths(understudy: Call, hub: Hub, vm: Path) -> None:
    before = {path: path.read_bytes() for path in vm.rglob("*") if path.is_file()}
    said = understudy("push", vm, "ada/tutor")
    assert said.code == 0, said.err
    assert hub.made == [{"repo": "ada/tutor", "private": True, "type": "model"}]
    assert set(hub.files) == {
        "adapter_model.safetensors", "README.md", "tokenizer.json", "adapter_config.json", "understudy.json",
        "old/notes.md",
    }  # fmt: skip
    assert json.loads(hub.files["understudy.json"]) == {
        "base": "b@1", "base_path": "base", "losses": [[1, 2.0]], "corpus": "corpus", "files": {"x.jsonl": "d"},
    }  # fmt: skip
    assert json.loads(hub.files["adapter_config.json"]) == {"base_model_name_or_path": "base", "r": 8}
    assert b"/usr/bin" in hub.files["tokenizer.json"]
    assert "6 files" in said.out and "https://hub.example/ada/tutor (private)" in said.out
    assert {path: path.read_bytes() for path in vm.rglob("*") if path.is_file()} == before


def test_a_corpus_goes_up_as_a_dataset_without_its_ledger_and_reviews(
    understudy: Call, hub: Hub, written: Callable[..., Path]
) -> None:
    corpus = written({"a.md": "Water flows."}, [{}, {"status": "rejected", "reason": "x"}])
    (corpus / "reviews.jsonl").write_text("{}\n")
    (corpus / "README.md").write_text("# Card")
    (corpus / "recipe.json").write_text(json.dumps({"seeds": [{"path": str(corpus.parent / "seeds")}]}))
    (corpus / "scratch.txt").write_text("mine")
    assert (corpus / "ledger.db").is_file() and (corpus / "run.json").is_file()
    assert understudy("push", corpus, "ada/corpus", "--public").code == 0
    assert hub.made == [{"repo": "ada/corpus", "private": False, "type": "dataset"}]
    assert {"README.md", "recipe.json"} <= set(hub.files)
    assert any(name.startswith("data/") for name in hub.files)
    assert not {"ledger.db", "run.json", "reviews.jsonl", "scratch.txt"} & set(hub.files)
    assert json.loads(hub.files["recipe.json"]) == {"seeds": [{"path": "seeds"}]}


def test_a_repository_that_is_public_gets_nothing_unless_that_is_meant(understudy: Call, hub: Hub, vm: Path) -> None:
    hub.private = False
    said = understudy("push", vm, "ada/tutor")
    assert said.code == 2 and "ada/tutor is public" in said.err and hub.files == {}
    assert understudy("push", vm, "ada/tutor", "--public").code == 0 and hub.files


def test_without_a_network_a_token_or_a_model_nothing_is_sent(
    understudy: Call, hub: Hub, vm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "neither a model nor a corpus" in understudy("push", "empty", "ada/x").err
    assert "no such folder" in understudy("push", "nowhere", "ada/x").err
    assert "holds a model, not a dataset" in understudy("push", vm, "ada/x", "--kind", "dataset").err
    assert "--kind thing" in understudy("push", vm, "ada/x", "--kind", "thing").err
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    said = understudy("push", vm, "ada/x")
    assert said.code == 2 and "no token for the Hub" in said.err and "HF_TOKEN" in said.err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in understudy("push", vm, "ada/x").err
    assert hub.made == [] and hub.files == {}


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError("slow")], ids=lambda e: type(e).__name__)
def test_a_hub_that_cannot_be_reached_is_told(understudy: Call, hub: Hub, vm: Path, error: Exception) -> None:
    hub.error = error
    said = understudy("push", vm, "ada/x")
    assert said.code == 2 and "the Hub cannot be reached" in said.err


def test_what_the_hub_says_no_to_is_told(understudy: Call, hub: Hub, vm: Path) -> None:
    import httpx

    answer = httpx.Response(403, request=httpx.Request("POST", "https://hub.example"))
    hub.error = HfHubHTTPError("403 Forbidden: read-only token", response=answer)
    said = understudy("push", vm, "ada/x")
    assert said.code == 2 and "the Hub refused: 403" in said.err


def test_the_real_client_is_let_onto_the_network_by_push_alone(vm: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    # Nobody listens there: what is refused is the connection, not the attempt.
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_test", "HF_HOME": str(tmp_path / "home")}
    command = str(Path(sys.executable).with_name("understudy"))
    said = subprocess.run([command, "push", str(vm), "ada/x"], capture_output=True, text=True, env=environment)
    assert said.returncode == 2 and "the Hub cannot be reached" in said.stderr and "Traceback" not in said.stderr
