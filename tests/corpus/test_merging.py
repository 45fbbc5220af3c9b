"""Shards become one another's files: nothing of them may change, whenever it is interrupted."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.corpus import RunFolder, merging
from understudy.corpus.repair import check, repair
from understudy.corpus.rows import EXAMPLE, example
from understudy.corpus.rows import _as_now as rows_as_now
from understudy.errors import RunFolderError, StorageError
from understudy.graphs import Outcome, generate, shards
from understudy.recipe_file import load_recipe

Fault = Callable[..., object]
HOMES = ("accepted", "rejected", "duplicate", "failed")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_DRAFTS", 3)
    monkeypatch.setattr(merging, "SPAN", 4)


async def run(project: Path, out: str = "out", accept: int = 24) -> Outcome:
    return await generate(load_recipe(project / "recipe.yaml", (f"accept={accept}",)), project / out)


def rows(path: Path) -> list[str]:
    with RunFolder.read(path) as folder:
        return [json.dumps(row, sort_keys=True) for home in HOMES for row in folder.rows(home)]


async def unmerged(project: Path, monkeypatch: pytest.MonkeyPatch, out: str = "plain") -> Path:
    """The same run with its shards as they were committed."""
    with monkeypatch.context() as patch:
        patch.setattr(merging, "due", lambda _: None)
        await run(project, out)
    return project / out


async def test_a_merged_run_holds_the_same_rows_in_the_same_order(project: Path, monkeypatch: pytest.MonkeyPatch):
    await run(project)
    plain = await unmerged(project, monkeypatch)
    names = sorted(path.name for path in (project / "out" / "data").iterdir())
    assert "train-00000-00003.parquet" in names and "train-00004-00007.parquet" in names
    assert len(names) < len(list((plain / "data").iterdir())) / 2
    assert rows(project / "out") == rows(plain)
    assert check(project / "out") == []
    with RunFolder.read(project / "out") as ours, RunFolder.read(plain) as theirs:
        assert ours.digest == theirs.digest
        assert ours.accounting().drafts == theirs.accounting().drafts
        texts = [[row for table in one.index() for row in table.to_pylist()] for one in (ours, theirs)]
        assert texts[0] == texts[1]
        for example in ours.examples():
            calls = [ours.call(key) for key in example.calls]
            assert [call and call.reply for call in calls] == [
                call and call.reply for call in map(theirs.call, example.calls)
            ]


async def test_a_run_of_two_sittings_is_merged_as_well(project: Path):
    await run(project, "one")
    await run(project, "two", accept=9)
    await run(project, "two")
    assert rows(project / "one") == rows(project / "two")
    assert (project / "two" / "data" / "train-00004-00007.parquet").is_file()


async def test_a_merged_file_has_a_row_group_for_every_few_shards(project: Path):
    await run(project)
    segment = pq.ParquetFile(project / "out" / "traces" / "00000-00003.parquet")
    assert segment.num_row_groups == 1
    with RunFolder.read(project / "out") as folder:
        assert segment.metadata.num_rows == next(f.rows for f in folder.ledger.files("traces/") if f.shard == 3)


class Died(BaseException):
    """Where a process would have been killed."""


@pytest.mark.parametrize(
    "step", [pytest.param("before", marks=pytest.mark.slow), "between", pytest.param("after", marks=pytest.mark.slow)]
)
async def test_a_crash_while_shards_are_merged(
    project: Path, step: str, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    plain = await unmerged(project, monkeypatch)
    entered = RunFolder.adopt

    def dies(self: RunFolder, due: merging.Due, files: Any) -> None:
        if step == "after":  # in the ledger, the old files still there
            self.ledger.merge(due.shards, files)
        raise Died

    def refuses(self: RunFolder, due: merging.Due) -> Any:
        (self.path / "data" / "train-00000-00003.parquet").write_bytes(b"half")
        raise Died

    with monkeypatch.context() as patch:
        if step == "before":
            patch.setattr(RunFolder, "merged", refuses)
        else:
            patch.setattr(RunFolder, "adopt", dies)
        with pytest.raises(Died):
            await run(project)
    assert entered is RunFolder.adopt
    await run(project)
    assert rows(project / "out") == rows(plain)
    assert check(project / "out") == []
    assert len(list((project / "out" / "data").glob("train-*"))) < len(list((plain / "data").glob("train-*")))
    when = {"before": "before the files are whole", "between": "before the ledger", "after": "before the old ones go"}
    fault(f"killed while shards are merged, {when[step]}")


async def test_a_damaged_shard_is_not_merged(project: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault):
    with monkeypatch.context() as patch:
        patch.setattr(merging, "due", lambda _: None)
        await run(project, accept=12)
    path = next((project / "out" / "data").glob("train-00001*"))
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(RunFolderError, match="sha256") as caught:
        await run(project)
    assert caught.value.where == str(path)
    fault("a file is damaged before it is merged", message=f"{path.name}: {caught.value.message}")
    repair(project / "out")
    await run(project)
    assert rows(project / "out") == rows(await unmerged(project, monkeypatch))


@pytest.mark.parametrize("home", ["data", "traces", "index"])
async def test_a_damaged_merged_file_is_made_again(project: Path, home: str, fault: Fault):
    await run(project)
    before = rows(project / "out")
    path = next((project / "out" / home).glob("*00004-00007.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    (problem,) = check(project / "out")
    assert (problem.where, problem.shard) == (f"{home}/{path.name}", 7)
    repair(project / "out")
    with RunFolder.read(project / "out") as folder:
        assert folder.ledger.next_shard() == 4
    again = await run(project)
    assert rows(project / "out") == before
    assert check(project / "out") == []
    assert (again.calls_made > 8) == (home == "traces")
    fault(f"a merged file of `{home}/` is cut", message=f"{problem.where}: {problem.what}")


async def test_a_ledger_is_made_anew_from_merged_files(project: Path, fault: Fault):
    await run(project)
    before = rows(project / "out")
    (project / "out" / "ledger.db").unlink()
    # What a crash may have left of the shards: the merged files say the same.
    whole = project / "out" / "data" / "train-00000-00003.parquet"
    (project / "out" / "data" / "train-00000.parquet").write_bytes(whole.read_bytes())
    repair(project / "out")
    again = await run(project)
    assert rows(project / "out") == before
    assert check(project / "out") == []
    assert again.calls_made < 8
    fault("the ledger is deleted after shards were merged")


async def test_a_disk_that_fails_when_merged_files_go_is_named_and_the_run_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
):
    plain = await unmerged(project, monkeypatch)

    def fails(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fails)
        with pytest.raises(StorageError, match="Input/output error") as caught:
            await run(project)
    await run(project)
    assert rows(project / "out") == rows(plain)
    assert check(project / "out") == []
    fault("the disk fails when merged files are removed", message=caught.value.message)


async def test_rows_of_an_earlier_version_keep_their_personas_when_they_are_merged(project: Path):
    await run(project, accept=24)
    with RunFolder.read(project / "out") as folder:
        name = next(file.name for file in folder.ledger.files("data/"))
        kept = [one.persona for one in folder.examples()]
    table = pq.read_table(project / "out" / name)
    place = table.schema.get_field_index("persona")
    was = pa.struct(
        [field for field in table.schema.field("persona").type if field.name not in ("source", "attributes")]
    )
    old = pa.array([one and {key: one[key] for key in was.names} for one in table["persona"].to_pylist()], was)
    now = rows_as_now(table.set_column(place, pa.field("persona", was), old), EXAMPLE)
    assert now.schema.equals(EXAMPLE)
    found = [example(row).persona for row in now.to_pylist()]
    assert found == [one and replace(one, source=None) for one in kept[: len(found)]]
