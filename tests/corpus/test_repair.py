"""A run folder that was damaged: what is wrong is named, and a repair lets the run make it again."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.corpus import RunFolder
from understudy.corpus.repair import check, repair
from understudy.errors import RunFolderError
from understudy.graphs import Outcome, generate, shards
from understudy.recipe_file import load_recipe

Damage = Callable[[Path], None]
Fault = Callable[..., object]


async def run(project: Path, out: str = "out") -> Outcome:
    return await generate(load_recipe(project / "recipe.yaml", ("accept=24",)), project / out)


@pytest.fixture
async def finished(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of several shards."""
    monkeypatch.setattr(shards, "SHARD_DRAFTS", 10)
    await run(project)
    return project / "out"


def rows(path: Path) -> list[str]:
    with RunFolder.read(path) as folder:
        kinds = ("accepted", "rejected", "duplicate", "failed")
        return [json.dumps(row, sort_keys=True) for kind in kinds for row in folder.rows(kind)]


def calls_in_traces(path: Path) -> int:
    with RunFolder.read(path) as folder:
        return folder.ledger.count_calls()[1]


def second(path: Path, home: str) -> Path:
    """The file of the second shard."""
    return next((path / home).glob("*00001.parquet"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


async def test_a_sound_folder_has_no_problems_and_a_repair_changes_nothing(finished: Path) -> None:
    before = rows(finished)
    assert check(finished) == []
    assert repair(finished) == []
    assert rows(finished) == before


@pytest.mark.parametrize("damage", [cut, flip, os.unlink], ids=["cut", "flipped bit", "deleted"])
@pytest.mark.parametrize("home", ["data", "index", "traces"])
async def test_a_damaged_shard_is_named_and_made_again(
    finished: Path, project: Path, home: str, damage: Damage, fault: Fault
) -> None:
    before, path, rolled = rows(finished), second(finished, home), calls_in_traces(finished)
    damage(path)
    (problem,) = check(finished)
    assert (problem.where, problem.shard, problem.harmless) == (f"{home}/{path.name}", 1, False)
    (done,) = repair(finished)
    assert "drafts were taken out" in done
    again = await run(project)
    assert rows(finished) == before
    assert check(finished) == []
    # Only what lay in a damaged trace segment is asked for again, but for a draft or two that the goal comes before.
    assert (again.calls_made > 8) == (home == "traces")
    assert calls_in_traces(finished) == rolled
    how = {cut: "is cut", flip: "has a flipped bit", os.unlink: "is deleted"}[damage]
    fault(f"a file of `{home}/` {how}", message=f"{problem.where}: {problem.what}")


async def test_a_file_that_the_ledger_does_not_know_is_harmless_and_removed(finished: Path, fault: Fault) -> None:
    orphan = finished / "data" / "train-00099.parquet"
    orphan.write_bytes(b"left")
    (problem,) = check(finished)
    assert problem.harmless
    assert repair(finished) == ["data/train-00099.parquet: removed, the ledger does not know it"]
    assert check(finished) == []
    fault("a file that a crash left over", message=f"{problem.where}: {problem.what}")


async def test_damaged_seeds_are_written_again_from_their_sources(finished: Path, fault: Fault) -> None:
    before = rows(finished)
    flip(finished / "seeds" / "00000.parquet")
    assert [problem.where for problem in check(finished)] == ["seeds/00000.parquet"]
    assert repair(finished) == ["seeds/00000.parquet: written again from the sources"]
    assert (check(finished), rows(finished)) == ([], before)
    fault("a damaged file of `seeds/`", message="seeds/00000.parquet: written again from the sources")


async def test_damaged_seeds_whose_sources_have_changed_are_not_replaced(
    finished: Path, project: Path, fault: Fault
) -> None:
    cut(finished / "seeds" / "00000.parquet")
    (project / "docs" / "bread.md").write_text("# Something else\n\nEntirely.")
    with pytest.raises(RunFolderError, match="their sources are not what they were") as caught:
        repair(finished)
    assert "copy of the folder" in str(caught.value.remedy)
    fault("damaged seeds whose sources have changed", message=str(caught.value).partition("\n")[0])


@pytest.mark.parametrize(
    "damage", [halve, lambda path: path.write_bytes(b""), os.unlink], ids=["halved", "empty", "gone"]
)
async def test_a_damaged_ledger_is_made_anew_from_the_files(
    finished: Path, project: Path, damage: Damage, fault: Fault
) -> None:
    with RunFolder.read(finished) as folder:
        before, books = rows(finished), folder.accounting()
    unfinished = books.tokens_by_status["unfinished"]
    damage(finished / "ledger.db")
    (done, *_) = repair(finished)
    assert done.startswith("ledger.db: made anew")
    assert (check(finished), rows(finished)) == ([], before)
    with RunFolder.read(finished) as folder:
        again = folder.accounting()
    assert (again.seeds, again.drafts, again.reasons) == (books.seeds, books.drafts, books.reasons)
    assert again.tokens == books.tokens - unfinished
    assert (await run(project)).calls_made == 0
    how = {halve: "halved", os.unlink: "deleted"}.get(damage, "emptied")
    fault(f"the ledger {how}", message=done)


async def test_a_page_of_the_ledger_that_was_overwritten_is_found(finished: Path, fault: Fault) -> None:
    before, path = rows(finished), finished / "ledger.db"
    body = bytearray(path.read_bytes())
    for page in range(2, len(body) // 4096, 3):
        body[page * 4096 : page * 4096 + 64] = os.urandom(64)
    path.write_bytes(body)
    (done, *_) = repair(finished)
    assert done.startswith("ledger.db: made anew")
    assert (check(finished), rows(finished)) == ([], before)
    fault("pages of the ledger overwritten", message=done)


async def test_a_shard_that_is_not_whole_is_left_out_when_the_ledger_is_made_anew(
    finished: Path, project: Path
) -> None:
    before = rows(finished)
    second(finished, "data").unlink()
    (finished / "ledger.db").unlink()
    repair(finished)
    with RunFolder.read(finished) as folder:
        assert folder.ledger.next_turn() == 10
    await run(project)
    assert rows(finished) == before


async def test_a_row_that_the_ledger_lacks_is_found(finished: Path) -> None:
    with RunFolder.read(finished) as folder:
        lost = folder.ledger.draft_id(12)
    beside = sqlite3.connect(finished / "ledger.db")
    beside.execute("UPDATE drafts SET id = x'00' WHERE turn = 12")
    beside.commit()
    beside.close()
    assert any(lost in problem.what and problem.shard == 1 for problem in check(finished))
    assert "drafts were taken out" in repair(finished)[0]
    assert check(finished) == []


async def test_a_folder_that_a_run_holds_is_not_repaired(finished: Path) -> None:
    with RunFolder.read(finished) as folder:
        recipe = folder.recipe
    from understudy.corpus import Ledger

    owner = Ledger.open(finished / "ledger.db")
    with pytest.raises(RunFolderError, match="in use by"):
        repair(finished)
    owner.close()
    assert recipe.accept == 24


def test_a_folder_that_is_no_corpus_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such corpus folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="not a corpus folder"):
        repair(tmp_path)


async def test_calls_past_a_gap_are_kept_when_the_ledger_is_made_anew(finished: Path, project: Path, fault: Fault):
    before = rows(finished)
    (finished / "ledger.db").unlink()
    second(finished, "rejected").unlink()
    repair(finished)
    again = await run(project)
    assert rows(finished) == before
    assert again.calls_made <= 8
    fault("the ledger and a file of a shard are deleted")
