"""What `sm.json` says of an SM, and which seeds it keeps a run from."""

import json
from pathlib import Path

import pytest

from understudy.errors import ModelError, RecipeError
from understudy.models.frozen import FROZEN, check_frozen, check_unseen, file_digest, read_frozen
from understudy.recipe import Recipe


def frozen(folder: Path, seen: Path) -> Path:
    folder.mkdir()
    trained_on = [{"name": "trees", "bytes": seen.stat().st_size, "digest": file_digest(seen)}]
    (folder / FROZEN).write_text(json.dumps({"name": "continuer", "weights": "00", "trained_on": trained_on}))
    return folder


def recipe(folder: Path, **sections: object) -> Recipe:
    body = {"name": "x", "seeds": [{"path": "."}], "accept": 1, **sections}
    return Recipe.model_validate(body).at(folder)


@pytest.fixture
def seeds(tmp_path: Path) -> tuple[Path, Path]:
    """A file that the SM has seen, and another of the same length."""
    (tmp_path / "seen.csv").write_text("tree,size\noak,9\n")
    (tmp_path / "new.csv").write_text("tree,size\nelm,8\n")
    frozen(tmp_path / "sm", tmp_path / "seen.csv")
    return tmp_path / "seen.csv", tmp_path / "new.csv"


@pytest.mark.parametrize("backend", ["transformers", "vllm", "vllm-server"])
def test_seeds_that_an_sm_was_trained_on_are_refused_and_others_are_not(
    tmp_path: Path, seeds: tuple[Path, Path], backend: str
) -> None:
    taken = recipe(tmp_path, sm={"backend": backend, "path": "sm"})
    check_unseen(taken, [seeds[1]])
    with pytest.raises(RecipeError, match=r"seen\.csv: the SM `continuer` was trained on this use case"):
        check_unseen(taken, seeds)


def test_every_sm_of_a_recipe_is_looked_at_but_one_that_another_stands_in_for(
    tmp_path: Path, seeds: tuple[Path, Path]
) -> None:
    spec = {"backend": "transformers", "path": "sm"}
    check_unseen(recipe(tmp_path, sm=spec), seeds, given=True)
    with pytest.raises(RecipeError, match="take another model as `judge`"):
        check_unseen(recipe(tmp_path, sm={"backend": "scripted"}, sms={"judge": spec}), seeds, given=True)


def test_only_files_of_the_length_of_one_that_was_seen_are_read(
    tmp_path: Path, seeds: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = tmp_path / "longer.csv"
    longer.write_text("tree,size\nplane,12\n")
    read: list[Path] = []
    monkeypatch.setattr("understudy.models.frozen.file_digest", lambda path: read.append(path))
    check_unseen(recipe(tmp_path, sm={"backend": "transformers", "path": "sm"}), [longer, *seeds])
    assert read == [*seeds]


def test_a_folder_without_sm_json_is_a_model_like_any_other(tmp_path: Path, seeds: tuple[Path, Path]) -> None:
    assert read_frozen(tmp_path) is None and check_frozen(tmp_path) is None
    check_unseen(recipe(tmp_path, sm={"backend": "transformers", "path": "."}), seeds)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', '{"name": "x", "weights": "y", "trained_on": [{}]}'])
def test_a_damaged_sm_json_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / FROZEN).write_text(text)
    with pytest.raises(ModelError, match=r"sm\.json: damaged"):
        read_frozen(tmp_path)
