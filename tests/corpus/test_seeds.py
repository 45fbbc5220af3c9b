import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.corpus import seeds as module
from understudy.corpus.seeds import SeedFiles
from understudy.errors import StorageError
from understudy.nouns import Seed, address


def placed(folder: Path, entries: list[tuple[int, Seed, str]], test_share: float) -> list[tuple[Seed, str]]:
    """Seeds with their splits in plan order."""
    files, _ = module.place(folder, entries, test_share)
    found = SeedFiles(folder, files)
    everyone = found.some(0, len(found))
    found.close()
    return everyone


def seeds(*sizes: int) -> list[tuple[int, Seed, str]]:
    return [
        (source, seed, address(0, seed.id))
        for source, size in enumerate(sizes)
        for seed in (Seed.of("text", f"{source}-{n}", f"{n}:1") for n in range(size))
    ]


def places(tmp_path: Path, test_share: float, *sizes: int) -> list[tuple[int, str]]:
    """(source, split) in plan order."""
    return [(int(seed.content.split("-")[0]), split) for seed, split in placed(tmp_path, seeds(*sizes), test_share)]


def test_sources_take_turns_in_the_plan(tmp_path: Path):
    assert [source for source, _ in places(tmp_path, 0, 2, 4, 1)] == [0, 1, 2, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("share", "sizes", "held_out"),
    [(0.2, (10, 5), [2, 1]), (0.5, (4, 4), [2, 2]), (0.0, (6, 3), [0, 0]), (0.1, (30,), [3]), (0.9, (10,), [9])],
)
def test_each_source_gives_its_share_of_seeds_to_the_test_split(
    tmp_path: Path, share: float, sizes: tuple[int, ...], held_out: list[int]
):
    found = places(tmp_path, share, *sizes)
    assert [found.count((source, "test")) for source in range(len(sizes))] == held_out
    assert len(found) == sum(sizes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.floats(0, 0.99))
def test_the_test_split_is_the_share_rounded_for_any_number_of_seeds(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], share: float
):
    found = places(tmp_path_factory.getbasetemp(), share, *sizes)
    for source, size in enumerate(sizes):
        assert abs(found.count((source, "test")) - size * share) <= 0.5 + 1e-9


def test_the_plan_depends_on_the_run_s_seed_and_not_on_the_order_of_reading(tmp_path: Path):
    def plan(entries: list[tuple[int, Seed, str]]) -> list[str]:
        return [seed.id for seed, _ in placed(tmp_path, entries, 0.2)]

    entries = seeds(8, 3)
    assert plan(entries) == plan(entries[::-1])
    assert plan(entries) != plan([(source, seed, address(1, seed.id)) for source, seed, _ in entries])


def test_a_seed_comes_back_as_it_was(tmp_path: Path):
    seed = Seed.of("table", "| a |", "t.csv:2", license="MIT", rows=[["é", "1"]], columns=["a"], tokens=3)
    assert placed(tmp_path, [(0, seed, "x")], 0) == [(seed, "train")]


def test_seeds_are_found_by_position_across_groups_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_GROUP", 3)
    monkeypatch.setattr(module, "_FILE", 6)
    entries = seeds(20)
    files, kinds = module.place(tmp_path, entries, 0.5)
    assert ([file.rows for file in files], kinds) == ([6, 6, 6, 2], ["text"])
    found = SeedFiles(tmp_path, files)
    everyone = [found[position] for position in range(len(found))]
    assert sorted(seed.id for seed, _ in everyone) == sorted(seed.id for _, seed, _ in entries)
    assert [seed.id for seed, _ in everyone] == list(module.ids(tmp_path, files))
    assert found[13] == everyone[13] and found[2] == everyone[2]
    assert found.some(18, 64) == everyone[18:]
    with pytest.raises(IndexError):
        found[20]
    found.close()


def test_the_same_seeds_make_the_same_files(tmp_path: Path):
    one, other = (module.place(tmp_path / name, seeds(30, 5), 0.2)[0] for name in ("one", "other"))
    assert one == other


def test_a_disk_that_is_full_while_seeds_are_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        module.place(tmp_path, seeds(3), 0)
