"""Run folders as earlier versions left them: one archive for each version of the ledger, made by that version."""

import re
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from understudy.agents import catalog
from understudy.corpus import RunFolder, ledger, migrations, seeds
from understudy.corpus.repair import check
from understudy.errors import RunFolderError, StorageError
from understudy.graphs import generate
from understudy.recipe_file import load_recipe

RELEASES = sorted((Path(__file__).parent / "releases").glob("ledger-*.tar.gz"))


@pytest.fixture(params=RELEASES, ids=[path.name.removesuffix(".tar.gz") for path in RELEASES])
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a corpus in `out` that an earlier version wrote."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    # Under the prompts of that time: with others it would be another corpus.
    with tarfile.open(RELEASES[0].with_name("cast.tar.gz")) as archive:
        archive.extractall(tmp_path / "cast", filter="data")
    monkeypatch.setattr(catalog, "shipped", lambda: tmp_path / "cast")
    return tmp_path


def version(path: Path) -> int:
    return ledger.schema_version(path / "out" / "ledger.db")


async def test_a_run_of_an_earlier_version_is_resumed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was = version(old)
    shutil.copytree(old / "out", old / "before")
    outcome = await generate(load_recipe(old / "recipe.yaml", ("accept=6",)), old / "out")
    assert outcome.ended == "goal"
    assert (version(old), check(old / "out")) == (ledger.SCHEMA_VERSION, [])
    kept = sqlite3.connect(old / "out" / f"ledger-v{was}.db")
    assert kept.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (str(was),)
    kept.close()
    monkeypatch.setattr(seeds, "ranked", lambda read: read)  # there was no plan then
    anew = await generate(load_recipe(old / "recipe.yaml", ("accept=6",)), old / "anew")
    digests = []
    for path in (outcome.folder, anew.folder):
        with RunFolder.read(path) as folder:
            digests.append((folder.digest, folder.accounting().drafts, folder.accounting().seeds))
    assert digests[0] == digests[1]
    # What the earlier version had journaled was not asked for again.
    assert outcome.calls_made < anew.calls_made


async def test_its_books_say_what_they_said(old: Path) -> None:
    old_books = sqlite3.connect(old / "out" / "ledger.db")
    calls, tokens = old_books.execute("SELECT COUNT(*), COALESCE(SUM(prompt + completion), 0) FROM calls").fetchone()
    if version(old) > 2:
        rolled = old_books.execute("SELECT SUM(calls), SUM(prompt + completion) FROM usage").fetchone()
        calls, tokens = calls + rolled[0], tokens + rolled[1]
    old_books.close()
    await generate(load_recipe(old / "recipe.yaml", ("accept=3",)), old / "out")
    with RunFolder.read(old / "out") as folder:
        assert folder.accounting().tokens == tokens
        assert sum(folder.ledger.count_calls()) == calls
        for example in folder.examples():
            assert folder.seed_of(example).id == example.seed
            assert all(folder.call(key) for key in example.calls)


def test_a_reader_changes_nothing_and_says_what_to_do(old: Path) -> None:
    before = (old / "out" / "ledger.db").read_bytes()
    with pytest.raises(RunFolderError, match=r"earlier version \(ledger schema \d+, this is \d+\)") as caught:
        RunFolder.read(old / "out")
    assert "journal repair" in str(caught.value.remedy)
    assert (old / "out" / "ledger.db").read_bytes() == before


def test_a_disk_that_fills_up_leaves_the_old_ledger(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    was = version(old)
    monkeypatch.setattr(migrations.shutil, "copyfile", full)
    with pytest.raises(StorageError, match="No space left"):
        RunFolder.start(old / "out", load_recipe(old / "recipe.yaml"), "x")
    assert version(old) == was
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match="another recipe"):  # the plan is not "x"; the ledger is as it should be
        RunFolder.start(old / "out", load_recipe(old / "recipe.yaml"), "x")
    assert version(old) == ledger.SCHEMA_VERSION


def test_every_version_that_can_be_brought_up_has_an_archive() -> None:
    archived = {int(found[1]) for path in RELEASES if (found := re.search(r"ledger-(\d+)", path.name))}
    assert archived == set(migrations._STEPS)
