import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.corpus import RunFolder, rows
from understudy.corpus import folder as module
from understudy.errors import RunFolderError, SeedError, StorageError
from understudy.nouns import Example, Persona
from understudy.recipe import Recipe

Make = Callable[..., Any]


def commit(folder: RunFolder, *examples: Example, turn: int = 0, index: list[dict[str, Any]] | None = None) -> None:
    seeds = {}
    for position in range(folder.ledger.count_seeds()):
        seed, split = folder.ledger.seed_at(position)
        seeds[seed.id] = (seed, split)
    folder.commit(list(enumerate(examples, start=turn)), seeds, index or [])


def listing(path: Path) -> set[str]:
    return {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and not p.name.startswith("ledger")}


def test_a_new_folder_holds_the_recipe_s_seeds(folder: RunFolder):
    assert folder.ledger.count_seeds() == 15
    assert folder.ledger.meta("plan") == "plan"
    assert (folder.ledger.next_turn(), folder.ledger.next_shard()) == (0, 0)
    assert sorted(seed.content for seed in folder.ledger.seeds())[0] == "Fact 0 of source one."


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


def test_a_folder_is_resumed_where_it_was_left(tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make):
    commit(folder, example(folder.ledger.seed_at(0)[0]))
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


def test_a_changed_prompt_or_model_is_told_apart_from_a_changed_recipe(tmp_path: Path, recipe: Recipe, folder: RunFolder):
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
    with pytest.raises(RunFolderError, match="in use"):
        RunFolder.start(tmp_path / "corpus", recipe, "plan")
    others[0].close()


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_committed_file_that_is_missing_or_cut_is_named(
    tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make, damage: str
):
    commit(folder, example(folder.ledger.seed_at(0)[0]))
    folder.close()
    path = next(folder.path.glob("data/*.parquet"))
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RunFolderError) as caught:
        RunFolder.start(tmp_path / "corpus", recipe, "plan")
    assert caught.value.where == str(path)
    assert ("is missing" in caught.value.message) == (damage == "missing")
    assert "sha256" in str(caught.value.expected) and "copy" in str(caught.value.remedy)


def test_files_that_a_crash_left_over_are_removed_at_the_next_start(tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make):
    commit(folder, example(folder.ledger.seed_at(0)[0]))
    kept = listing(folder.path)
    folder.close()
    for name in ("data/train-00001.parquet", "traces/00001.parquet", "data/.train-00002.parquet.tmp", "index/9.parquet"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_bytes(b"left over")
    (folder.path / "notes.txt").write_text("mine")
    (folder.path / "data" / "sub").mkdir()
    RunFolder.start(tmp_path / "corpus", recipe, "plan").close()
    assert listing(folder.path) == kept | {"notes.txt"}


PERSONAS = {
    "none": None,
    "text": Persona.of("A baker."),
    "relation": Persona("id", "A baker's son.", "relation", parent="p", relation="child", hop=1),
}


@pytest.mark.parametrize("persona", PERSONAS.values(), ids=PERSONAS)
@pytest.mark.parametrize("status", ["accepted", "rejected", "duplicate", "failed"])
def test_an_example_comes_back_as_it_was(folder: RunFolder, example: Make, status: str, persona: Persona | None):
    seed = folder.ledger.seed_at(0)[0]
    changes = {} if status == "accepted" else {"reason": "why", "parents": ("other",)}
    made = example(seed, status=status, persona=persona, **changes)
    if status == "failed":
        made = replace(made, payload={}, scores={}, verdicts=())
    commit(folder, made)
    assert list(folder.examples(status)) == [made]


def test_each_status_has_its_home_and_each_split_its_files(folder: RunFolder, example: Make):
    drafts = [example(folder.ledger.seed_at(position)[0]) for position in range(15)]
    for draft, status in zip(drafts, ["rejected", "duplicate", "failed"], strict=False):
        drafts[drafts.index(draft)] = replace(draft, status=status, reason="why")
    commit(folder, *drafts)
    assert listing(folder.path) == {
        "data/train-00000.parquet", "data/test-00000.parquet", "rejected/00000.parquet", "duplicates/00000.parquet",
        "failed/00000.parquet",
    }  # fmt: skip
    splits = [{example.seed for example in folder.examples(split=split)} for split in ("train", "test")]
    assert not splits[0] & splits[1]
    assert len(splits[0] | splits[1]) == 12
    assert {folder.ledger.seed_at(p)[0].id for p in range(15) if folder.ledger.seed_at(p)[1] == "test"} >= splits[1]


def test_identical_seeds_stand_in_the_same_split(tmp_path: Path, recipe: Recipe):
    (tmp_path / "one" / "same.csv").write_text("river,km\n" + "Elbe,1094\n" * 20)
    source = recipe.seeds[0].model_copy(update={"rows_per_seed": 1, "kind": "table"})
    with RunFolder.start(tmp_path / "corpus", recipe.model_copy(update={"seeds": (source,), "test_share": 0.5}), "plan") as folder:
        placed = [folder.ledger.seed_at(position) for position in range(20)]
    assert len({seed.content for seed, _ in placed}) == 1
    assert len({split for _, split in placed}) == 1


def test_index_rows_come_back_in_plan_order(folder: RunFolder, example: Make):
    seed = folder.ledger.seed_at(0)[0]
    one = {"stage": "gate", "example": "a", "text": "x", "signature": [1, 2**32 - 1], "embedding": None}
    two = {"stage": "final", "example": "b", "text": "y", "signature": None, "embedding": [0.5, -1.0]}
    commit(folder, example(seed), index=[one])
    commit(folder, example(seed, 1), turn=1, index=[two])
    assert list(folder.index_rows()) == [one, two]


def test_an_example_is_found_by_the_start_of_its_id(folder: RunFolder, example: Make):
    seed = folder.ledger.seed_at(0)[0]
    made = [example(seed, draw) for draw in range(17)]  # two of them share a first digit
    commit(folder, *made)
    assert folder.find(made[3].id[:20])[0] == made[3]
    with pytest.raises(RunFolderError, match="no example has"):
        folder.find("zz")
    with pytest.raises(RunFolderError, match="more than one"):
        folder.find("")


def test_the_digest_follows_the_data_and_nothing_else(folder: RunFolder, example: Make):
    empty = folder.digest
    seed = folder.ledger.seed_at(0)[0]
    commit(folder, example(seed, status="rejected", reason="why"))
    assert folder.digest == empty
    commit(folder, example(seed, 1), turn=1)
    assert folder.digest != empty


def test_a_full_disk_during_a_commit_is_told_and_the_old_files_are_intact(
    tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make, monkeypatch: pytest.MonkeyPatch
):
    seed = folder.ledger.seed_at(0)[0]
    first = example(seed)
    commit(folder, first)
    before, digest = listing(folder.path), folder.digest

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        commit(folder, example(seed, 1), turn=1)
    free = shutil.disk_usage(tmp_path).free / 2**20
    assert "No space left on device" in caught.value.message
    assert abs(int(caught.value.message.split("(")[1].split()[0]) - free) < 0.05 * free + 64
    assert str(folder.path / "data") in str(caught.value.where)
    monkeypatch.undo()
    folder.close()
    with RunFolder.start(tmp_path / "corpus", recipe, "plan") as again:
        assert (listing(again.path), again.digest) == (before, digest)
        assert list(again.examples()) == [first]
        commit(again, example(seed, 1), turn=1)
        assert len(list(again.examples())) == 2


def test_an_error_that_is_not_the_disk_s_stays_what_it_is(tmp_path: Path):
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(FileExistsError):
        rows.write(tmp_path, "data/x.parquet", 0, pa.table({"a": [1]}))


def test_a_small_file_is_replaced_in_one_step(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    folder.write_text("report.json", "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError):
        folder.write_text("report.json", "new")
    assert (folder.path / "report.json").read_text() == "old"


def test_a_data_file_opens_without_this_package(folder: RunFolder, example: Make):
    commit(folder, example(folder.ledger.seed_at(0)[0]))
    (row,) = pq.read_table(next(folder.path.glob("data/*.parquet"))).to_pylist()
    assert row["messages"][0] == {"role": "user", "content": "Ask 0"}
    assert row["source"].endswith(".txt:1") and row["license"] == "unknown" and row["seed_kind"] == "text"
