"""Samples and their continuations: disjoint, bounded, seeded; whole data sets held out; bad tables named."""

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import SeedError, UserError
from understudy.training.continuation import DataSet, continuations, most_uses, read_data_sets, split


def table(path: Path, rows: int, first: int = 0) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["plant", "height"])
        writer.writeheader()
        writer.writerows({"plant": f"p{number}", "height": number} for number in range(first, first + rows))
    return path


def made(rows: int, name: str = "plants") -> DataSet:
    return DataSet(name, Path(f"{name}.csv"), "", 0, tuple({"n": number} for number in range(rows)))


@given(
    rows=st.integers(2, 40),
    shown=st.integers(1, 5),
    new=st.integers(1, 5),
    draws=st.integers(1, 30),
    seed=st.integers(0, 9),
)
def test_rows_are_disjoint_within_a_conversation_and_each_comes_a_bounded_number_of_times(
    rows: int, shown: int, new: int, draws: int, seed: int
) -> None:
    if rows < shown + new:
        with pytest.raises(UserError, match="data set `plants` has"):
            continuations(made(rows), shown, new, draws, seed)
        return
    talks = continuations(made(rows), shown, new, draws, seed)
    assert len(talks) == draws
    uses = dict.fromkeys(range(rows), 0)
    for talk in talks:
        asked, answered = ([turn["content"] for turn in talk["messages"][side::2]] for side in (0, 1))
        assert asked[0].startswith("plants:\nn\n") and not any("plants" in one for one in asked[1:])
        sample = [int(line) for line in asked[0].split("\n\n")[0].splitlines()[2:]]
        target = [int(line) for line in answered]
        assert len(sample) == shown and len(target) == new and len({*sample, *target}) == shown + new
        for number in (*sample, *target):
            uses[number] += 1
    assert max(uses.values()) <= most_uses(rows, shown, new, draws)
    assert talks == continuations(made(rows), shown, new, draws, seed)


def test_another_seed_and_another_data_set_deal_otherwise() -> None:
    one = continuations(made(20), 4, 4, 3, 0)
    assert one != continuations(made(20), 4, 4, 3, 1)
    answers = [talk["messages"][1] for talk in continuations(made(20, "trees"), 4, 4, 3, 0)]
    assert answers != [talk["messages"][1] for talk in one]


def test_the_request_is_a_runs_with_a_sketch_of_the_row(tmp_path: Path) -> None:
    path = tmp_path / "garden plants.csv"
    path.write_text("kind,height,note\n" + "".join(f"{'ab'[n % 2]},{n},words about {n}\n" for n in range(30)))
    (one,) = read_data_sets([path])
    (talk,) = continuations(one, 8, 4, 1, 0)
    asked, answered = talk["messages"][0]["content"], talk["messages"][1]["content"]
    material, task = asked.split("\n\n")
    head, *rows = material.splitlines()[1:]
    assert (
        material.startswith("garden plants:\n") and sorted(head.split(" | ")) == ["height", "kind"] and len(rows) == 8
    )
    assert task.startswith("Wanted: ") and task.endswith("Copy none.")
    first = head.split(" | ")[0]
    wanted = re.search(rf"Wanted: .*\b{first} (\d+ to \d+|[ab])", task)
    assert wanted and len(answered.split(" | ")) == 2
    value = answered.split(" | ")[0]
    low, _, high = wanted[1].partition(" to ")
    assert value == low if not high else int(low) <= int(value) <= int(high)
    assert [turn["role"] for turn in talk["messages"]] == ["user", "assistant"] * 4


def test_a_table_of_free_text_alone_is_named() -> None:
    one = DataSet("notes", Path("notes.csv"), "", 0, tuple({"note": f"words {n}"} for n in range(20)))
    with pytest.raises(UserError, match="free text alone"):
        continuations(one, 4, 2, 1, 0)


def test_the_same_rows_have_one_digest_in_any_order_and_format(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (one,) = read_data_sets([table(tmp_path / "a.csv", 5)])
    rows = [{"plant": row["plant"], "height": int(row["height"])} for row in reversed(one.rows)]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    (b,) = read_data_sets([tmp_path / "b.jsonl"])
    (c,) = read_data_sets([tmp_path / "c.parquet"])
    assert one.rows_digest == b.rows_digest == c.rows_digest
    assert len({one.digest, b.digest, c.digest}) == 3
    with pytest.raises(UserError, match="the same rows twice"):
        read_data_sets([tmp_path / "a.csv", tmp_path / "b.jsonl"])


def test_a_row_that_comes_again_is_no_second_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": 1}\n{"n": 2}\n')
    (one,) = read_data_sets([tmp_path / "a.jsonl"])
    assert one.rows == ({"n": 1}, {"n": 2})


def test_whole_data_sets_are_held_out_by_name_or_by_a_seeded_draw() -> None:
    sets = [made(4, name) for name in "abcdefghij"]
    learned, held_out = split(sets, ("c", "h"), 0.2, 0)
    assert [one.name for one in held_out] == ["c", "h"] and len(learned) == 8
    drawn = [tuple(one.name for one in split(sets, (), 0.2, seed)[1]) for seed in range(8)]
    assert {len(names) for names in drawn} == {2} and len(set(drawn)) > 1
    assert drawn[3] == tuple(one.name for one in split(sets, (), 0.2, 3)[1])
    assert len(split(sets[:2], (), 0.9, 0)[1]) == 1


@pytest.mark.parametrize(
    ("count", "held_out", "said"),
    [(1, (), "none is left to learn from"), (2, ("a", "b"), "none is left"), (2, ("z",), "no data set is called `z`")],
)
def test_a_split_that_leaves_a_side_empty_is_refused(count: int, held_out: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        split([made(4, name) for name in "ab"[:count]], held_out, 0.2, 0)


def test_tables_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    good = table(tmp_path / "good.csv", 4)
    (tmp_path / "plants.txt").write_text("x")
    (tmp_path / "empty.csv").write_text("plant,height\n")
    (tmp_path / "ragged.csv").write_text("plant,height\na,1,2\n")
    (tmp_path / "other").mkdir()
    table(tmp_path / "other" / "good.csv", 4, first=9)
    for name, said in (
        ("gone.csv", "no such file"), ("plants.txt", "not a table"), ("empty.csv", "holds no rows"),
        ("ragged.csv", "row has 3 fields"), ("other/good.csv", "two data sets are called `good`"),
    ):  # fmt: skip
        with pytest.raises((UserError, SeedError), match=said) as error:
            read_data_sets([good, tmp_path / name])
        assert name in str(error.value)


def test_a_number_that_json_cannot_hold_is_told_with_its_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1.0, float("nan")]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet:row 2: holds NaN"):
        read_data_sets([tmp_path / "a.parquet"])
