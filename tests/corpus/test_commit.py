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
from understudy.errors import AccountingError, RunFolderError, StorageError
from understudy.nouns import Persona, address
from understudy.recipe import Recipe

Make = Callable[..., Any]


def listing(path: Path) -> set[str]:
    return {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and not p.name.startswith("ledger")}


BAKER = Persona.of("A baker.")
RELATIVE = Persona("id", "A baker's son.", "relation", parent="p", relation="child", hop=1)


@pytest.mark.parametrize(
    ("status", "persona"),
    [("accepted", BAKER), ("accepted", None), ("accepted", RELATIVE), ("rejected", BAKER), ("duplicate", BAKER),
     ("failed", None)],
    ids=["accepted", "accepted without persona", "accepted with a relative", "rejected", "duplicate", "failed"],
)  # fmt: skip
def test_an_example_comes_back_as_it_was(
    folder: RunFolder, example: Make, status: str, persona: Persona | None, commit: Make
):
    seed = folder.seeds[0][0]
    changes = {} if status == "accepted" else {"reason": "why", "parents": ("other",)}
    made = example(seed, status=status, persona=persona, **changes)
    if status == "failed":
        made = replace(made, payload={}, scores={}, verdicts=())
    commit(folder, made)
    assert list(folder.examples(status)) == [made]


def test_each_status_has_its_home_and_each_split_its_files(folder: RunFolder, example: Make, commit: Make):
    drafts = [example(folder.seeds[position][0]) for position in range(15)]
    for draft, status in zip(drafts, ["rejected", "duplicate", "failed"], strict=False):
        drafts[drafts.index(draft)] = replace(draft, status=status, reason="why")
    commit(folder, *drafts)
    assert listing(folder.path) == {
        "data/train-00000.parquet", "data/test-00000.parquet", "rejected/00000.parquet", "duplicates/00000.parquet",
        "failed/00000.parquet", "seeds/00000.parquet", "run.json",
    }  # fmt: skip
    splits = [{example.seed for example in folder.examples(split=split)} for split in ("train", "test")]
    assert not splits[0] & splits[1]
    assert len(splits[0] | splits[1]) == 12
    assert {folder.seeds[p][0].id for p in range(15) if folder.seeds[p][1] == "test"} >= splits[1]


def test_the_index_comes_back_in_plan_order(folder: RunFolder, example: Make, commit: Make):
    seed = folder.seeds[0][0]
    one = {"stage": "gate", "example": "a", "text": "x", "signature": b"\1\2", "embedding": None}
    two = {"stage": "final", "example": "b", "text": "y", "signature": None, "embedding": b"\3"}
    commit(folder, example(seed), index=[one])
    commit(folder, example(seed, 1), turn=1, index=[two])
    commit(folder, example(seed, 2), turn=2, index=[{**one, "example": "c"}])
    assert [row for table in folder.index() for row in table.to_pylist()] == [one, two, {**one, "example": "c"}]


def test_an_example_is_found_by_the_start_of_its_id(folder: RunFolder, example: Make, commit: Make):
    seed = folder.seeds[0][0]
    made = [example(seed, draw) for draw in range(17)]  # two of them share a first digit
    commit(folder, *made)
    assert folder.find(made[3].id[:20])[0] == made[3]
    with pytest.raises(RunFolderError, match="no example has"):
        folder.find("zz")
    with pytest.raises(RunFolderError, match="more than one"):
        folder.find("")


def test_the_digest_follows_the_data_and_nothing_else(folder: RunFolder, example: Make, commit: Make):
    empty = folder.digest
    seed = folder.seeds[0][0]
    commit(folder, example(seed, status="rejected", reason="why"))
    assert folder.digest == empty
    commit(folder, example(seed, 1), turn=1)
    assert folder.digest != empty


def test_the_digest_is_the_address_of_the_accepted_ids(folder: RunFolder, example: Make, commit: Make):
    assert folder.digest == address([])
    seed = folder.seeds[0][0]
    made = [example(seed, draw) for draw in range(3)]
    commit(folder, *made)
    assert folder.digest == address([one.id for one in made])


def test_a_full_disk_during_a_commit_is_told_and_the_old_files_are_intact(
    tmp_path: Path, recipe: Recipe, folder: RunFolder, example: Make, monkeypatch: pytest.MonkeyPatch, commit: Make
):
    seed = folder.seeds[0][0]
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


def test_a_data_file_opens_without_this_package(folder: RunFolder, example: Make, commit: Make):
    commit(folder, example(folder.seeds[0][0]))
    (row,) = pq.read_table(next(folder.path.glob("data/*.parquet"))).to_pylist()
    said = {key: value for key, value in row["messages"][0].items() if value is not None}
    assert said == {"role": "user", "content": "Ask 0"}
    assert row["source"].endswith(".txt:1") and row["license"] == "unknown" and row["seed_kind"] == "text"


def test_a_shard_that_would_leave_a_gap_in_the_plan_is_refused(folder: RunFolder, example: Make):
    seed, split = folder.seeds[0]
    with pytest.raises(AccountingError, match="expected to start at 0"):
        folder.commit([(3, example(seed))], {seed.id: (seed, split)}, [])
    assert folder.ledger.next_turn() == 0
