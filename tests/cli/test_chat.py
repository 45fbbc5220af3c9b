"""A conversation with a VM of a small random model, its lines piped in."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.models.folders import fingerprint

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory, small_models: Any) -> Path:
    home = tmp_path_factory.mktemp("chat")
    base = small_models.base(home / "small")
    path: Path = small_models.lora(home / "tutor", base, 1, scale=0.6)
    known = {
        "corpus": "c", "corpus_digest": "d", "recipe": "r", "recipe_version": "v", "method": "lora", "rows": 3,
        "base": f"small@{fingerprint(base)}", "base_path": str(base), "too_long": 0, "steps": 1,
        "learning_rate": 1e-4, "seed": 0, "losses": [],
    }  # fmt: skip
    (path / "understudy.json").write_text(json.dumps(known))
    return path


@pytest.fixture
def talk(understudy: Call, vm: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def call(text: str, *options: object, folder: Path = vm) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return understudy("chat", folder, "--max-tokens", 8, *options)

    return call


def replies(said: Any) -> list[str]:
    """What was said after the two lines of greeting."""
    return [str(line) for line in said.out.splitlines()[2:]]


def test_each_line_gets_a_reply_and_the_end_of_the_input_ends_it(talk: Call) -> None:
    said = talk("ba de fi\n\ngo ku\n")
    assert said.code == 0 and len(replies(said)) == 2 and said.out.startswith("small@")
    assert replies(talk("ba de fi\ngo ku\n")) == replies(said)


def test_the_conversation_is_kept_until_it_is_reset(talk: Call) -> None:
    first, second = replies(talk("ba de fi\nba de fi\n", "--temperature", 0))
    again, once_more = replies(talk("ba de fi\n/reset\nba de fi\n", "--temperature", 0))
    assert first == again == once_more != second


def test_the_base_is_asked_the_same_and_leaves_the_conversation_alone(talk: Call) -> None:
    own, base, on = replies(talk("ba de fi\n/base\ngo\n"))
    assert base.startswith("base: ") and base.removeprefix("base: ") != own
    assert replies(talk("ba de fi\ngo\n")) == [own, on]
    assert replies(talk("ba de fi\n", "--base")) == [own, base]
    assert replies(talk("/base\n")) == ["Nothing has been asked yet."]


def test_quitting_leaves_the_rest_unread_and_unknown_words_are_explained(talk: Call) -> None:
    said = talk("/what\n/quit\nba\n")
    assert said.code == 0 and len(replies(said)) == 1 and "/reset" in replies(said)[0]


def test_what_is_too_long_is_told_and_the_talk_goes_on(talk: Call) -> None:
    said = talk("ba " * 900 + "\nba de\n")
    assert said.code == 0 and "context overflow" in said.err
    assert replies(said) == replies(talk("ba de\n"))


def test_a_system_message_changes_what_is_said(talk: Call) -> None:
    assert replies(talk("ba de fi\n", "--system", "gar mar nar")) != replies(talk("ba de fi\n"))


def test_a_folder_that_is_no_vm_is_told(talk: Call, tmp_path: Path) -> None:
    said = talk("ba\n", folder=tmp_path)
    assert said.code == 2 and "not a VM" in said.err


def test_whole_weights_are_talked_to_and_a_base_nobody_knows_is_told(talk: Call, vm: Path) -> None:
    small = vm.parent / "small"
    assert len(replies(talk("ba de\n", folder=small))) == 1
    said = talk("ba de\n", "--base", folder=small)
    assert said.code == 2 and "does not say what it was trained on" in said.err
