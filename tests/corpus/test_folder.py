import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.corpus import folder as module
from understudy.errors import RunFolderError, SeedError
from understudy.recipe import Recipe

Make = Callable[..., Any]


def listing(path: Path) -> set[str]:
    return {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and not p.name.startswith("ledger")}


def test_a_new_folder_holds_the_recipe_s_seeds(folder: RunFolder):
    assert len(folder.seeds) == 15
    assert folder.ledger.meta("plan") == "plan"
    assert (folder.ledger.next_turn(), folder.ledger.next_shard()) == (0, 0)
    assert sorted(seed.content for seed in (folder.seeds[n][0] for n in range(15)))[0] == "Fact 0 of source one."


def test_an_empty_folder_that_is_already_there_is_filled(tmp_path: Path, recipe: Recipe):
    (tmp_path / "corpus").mkdir()
    RunFolder.start(tmp_path / "corpus", recipe, "plan").close()
    assert (tmp_path / "corpus" / "ledger.db").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", "one", "two"}


def test_the_folder_one_stands_in_can_be_filled(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    RunFolder.start(Path("."), recipe, "plan").close()
    assert (tmp_path / "here" / "ledger.db").is_file()


def test_a_seed_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path, recipe: Recipe):
    (tmp_path / "two" / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(SeedError):
        RunFolder.start(tmp_path / "corpus", recipe, "plan")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
    gc.collect()  # a connection or lock that was left open would be told here, as a warning, which is an error


def test_a_folder_is_resumed_where_it_was_left(
    tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make, commit: Make
):
    commit(folder, example(folder.seeds[0][0]))
    folder.close()
    with RunFolder.start(tmp_path / "corpus", recipe.model_copy(update={"accept": 9}), "plan") as again:
        assert (again.ledger.next_turn(), again.ledger.next_shard()) == (1, 1)
    with RunFolder.read(tmp_path / "corpus") as read:
        assert read.recipe.accept == 9


def test_a_file_in_the_folder_s_place_is_refused(tmp_path: Path, recipe: Recipe):
    (tmp_path / "corpus").write_text("x")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder.start(tmp_path / "corpus", recipe, "plan")


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path, recipe: Recipe):
    with pytest.raises(RunFolderError, match="not a corpus folder"):
        RunFolder.start(tmp_path / "one", recipe, "plan")
    assert len(list((tmp_path / "one").iterdir())) == 10


def test_reading_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(RunFolderError, match="no such corpus folder"):
        RunFolder.read(tmp_path / "none")


def test_another_recipe_s_folder_lists_what_changed(tmp_path: Path, recipe: Recipe, folder: RunFolder):
    folder.close()
    verify = recipe.verify.model_copy(update={"min_words": 9})
    other = recipe.model_copy(update={"seed": 7, "accept": 50, "verify": verify})
    with pytest.raises(RunFolderError) as caught:
        RunFolder.start(tmp_path / "corpus", other, "other plan")
    assert caught.value.message == "holds the corpus of another recipe: seed: 0 -> 7; verify.min_words: 3 -> 9"
    assert "--out" in str(caught.value.remedy)
    RunFolder.start(tmp_path / "corpus", recipe, "plan").close()  # the refusal did not keep the lock


def test_a_changed_prompt_or_model_is_told_apart_from_a_changed_recipe(
    tmp_path: Path, recipe: Recipe, folder: RunFolder
):
    folder.close()
    with pytest.raises(RunFolderError, match="an agent's prompt or a model changed"):
        RunFolder.start(tmp_path / "corpus", recipe, "other plan")


def test_of_two_runs_that_start_at_once_one_is_told_that_the_folder_is_in_use(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
):
    read = module.read_sources
    others = []

    def while_another_starts(recipe: Recipe) -> Any:
        monkeypatch.undo()
        others.append(RunFolder.start(tmp_path / "other", recipe, "plan"))
        others[0].path.rename(tmp_path / "corpus")
        return read(recipe)

    monkeypatch.setattr(module, "read_sources", while_another_starts)
    try:
        with pytest.raises(RunFolderError, match="in use"):
            RunFolder.start(tmp_path / "corpus", recipe, "plan")
    finally:
        others[0].close()


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_committed_file_that_is_missing_or_cut_is_named(
    tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make, damage: str, commit: Make
):
    commit(folder, example(folder.seeds[0][0]))
    folder.close()
    path = next(folder.path.glob("data/*.parquet"))
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RunFolderError) as caught:
        RunFolder.start(tmp_path / "corpus", recipe, "plan")
    assert caught.value.where == str(path)
    assert ("is missing" in caught.value.message) == (damage == "missing")
    assert "sha256" in str(caught.value.expected) and "journal repair" in str(caught.value.remedy)


def test_files_that_a_crash_left_over_are_removed_at_the_next_start(
    tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make, commit: Make
):
    commit(folder, example(folder.seeds[0][0]))
    kept = listing(folder.path)
    folder.close()
    for name in (
        "data/train-00001.parquet",
        "traces/00001.parquet",
        "data/.train-00002.parquet.tmp",
        "index/9.parquet",
    ):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_bytes(b"left over")
    (folder.path / "notes.txt").write_text("mine")
    RunFolder.start(tmp_path / "corpus", recipe, "plan").close()
    assert listing(folder.path) == kept | {"notes.txt"}


def test_a_folder_among_the_data_files_stops_no_run(tmp_path: Path, recipe: Recipe, folder: RunFolder):
    folder.close()
    (folder.path / "data" / ".ipynb_checkpoints").mkdir(parents=True)
    RunFolder.start(tmp_path / "corpus", recipe, "plan").close()


def test_identical_seeds_stand_in_the_same_split(tmp_path: Path, recipe: Recipe):
    (tmp_path / "one" / "same.csv").write_text("river,km\n" + "Elbe,1094\n" * 20)
    source = recipe.seeds[0].model_copy(update={"rows_per_seed": 1, "kind": "table"})
    with RunFolder.start(
        tmp_path / "corpus", recipe.model_copy(update={"seeds": (source,), "test_share": 0.5}), "plan"
    ) as folder:
        placed = [folder.seeds[position] for position in range(20)]
    assert len({seed.content for seed, _ in placed}) == 1
    assert len({split for _, split in placed}) == 1
