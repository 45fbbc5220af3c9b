import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.corpus.tables import Row, dataset_files, is_dataset_folder, rows
from understudy.errors import SeedError

TABLE = pa.table({"river": ["Elbe", "Oder", "Rhine"], "km": [1094, 840, None]})
ROWS = [{"river": "Elbe", "km": 1094}, {"river": "Oder", "km": 840}, {"river": "Rhine", "km": None}]


def read(name: str, text: str) -> list[tuple[str, Row]]:
    return list(rows(Path(name), io.StringIO(text)))


def refusal(name: str, text: str) -> SeedError:
    with pytest.raises(SeedError) as caught:
        read(name, text)
    return caught.value


def test_csv_rows_are_read_by_their_header_and_know_their_line():
    assert read("a.csv", "river, km\nElbe,1094\n\nOder,840\n") == [
        ("2", {"river": "Elbe", "km": "1094"}),
        ("4", {"river": "Oder", "km": "840"}),
    ]


def test_tsv_is_cut_at_tabs():
    assert read("a.tsv", "river\tkm\nElbe, upper\t1\n") == [("2", {"river": "Elbe, upper", "km": "1"})]


def test_a_quoted_field_may_hold_commas_quotes_and_line_breaks():
    assert read("a.csv", 'a,b\n"x, y","say ""go""\nnow"\nlast,1\n') == [
        ("3", {"a": "x, y", "b": 'say "go"\nnow'}),
        ("4", {"a": "last", "b": "1"}),
    ]


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"], ids=ascii)
def test_only_a_line_break_ends_a_csv_row(mark: str):
    assert read("a.csv", f"a,b\nup{mark}down,1\n") == [("2", {"a": f"up{mark}down", "b": "1"})]


def test_a_csv_field_may_be_a_whole_document():
    long = "word " * 40_000
    assert read("a.csv", f'a,b\n"{long}",1\n')[0][1]["a"] == long


@pytest.mark.parametrize("row", ["Elbe", "Elbe,1,2"], ids=["short", "long"])
def test_a_ragged_csv_row_is_named(row: str):
    error = refusal("a.csv", f"river,km\nOder,840\n{row}\n")
    assert error.where == "a.csv:3"
    assert "the header has 2" in error.message
    assert "river, km" in str(error.expected)


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("1,2\n3,4\n", "a.csv:1", "no header"),
        ("km,river,km\n1,2,3\n", "a.csv:1", "repeated: km"),
        ("\nriver,\nElbe,1\n", "a.csv:2", "missing"),
        ('river,km\n"Elbe,1\n', "a.csv:2", "not valid CSV"),
        ('river,km\n"Elbe"x,1\n', "a.csv:2", "not valid CSV"),
    ],
    ids=["no header", "column twice", "no name", "open quote", "text after quote"],
)
def test_a_bad_csv_file_is_named_with_its_line(text: str, where: str, said: str):
    error = refusal("a.csv", text)
    assert error.where == where
    assert said in error.message


def test_jsonl_rows_know_their_line_and_blank_lines_count():
    assert read("a.jsonl", '{"a": 1}\n\n{"a": null, "b": "x\u2028y"}\n') == [
        ("1", {"a": 1}),
        ("3", {"a": None, "b": "x\u2028y"}),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"a": 1', "not valid JSON"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ("[1, 2]", "a JSON list"),
        ('"words"', "a JSON str"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"a": "\\ud83d"}', "surrogate"),
    ],
    ids=["torn", "nan", "infinity", "list", "string", "deep", "huge number", "half an emoji"],
)
def test_a_bad_json_line_is_named(line: str, said: str):
    error = refusal("a.jsonl", f'{{"a": 0}}\n{line}\n')
    assert error.where == "a.jsonl:2"
    assert said in error.message


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), min_size=1)))
def test_jsonl_gives_back_every_row(table: list[Row]):
    assert [row for _, row in read("a.jsonl", "\n".join(json.dumps(row) for row in table))] == table


def test_parquet_rows_are_counted(tmp_path: Path):
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=2)
    assert list(rows(tmp_path / "a.parquet")) == [(f"row {n}", row) for n, row in enumerate(ROWS, start=1)]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1 torn"], ids=["empty", "torn"])
def test_a_torn_arrow_file_is_named(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SeedError) as caught:
        list(rows(path))
    assert caught.value.where == str(path)
    assert caught.value.message.startswith("unreadable after row 0")


def saved_to_disk(folder: Path, *, stream: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    (folder / "dataset_info.json").write_text("{}")
    write = pa.ipc.new_stream if stream else pa.ipc.new_file
    with write(str(folder / "data-00000-of-00001.arrow"), TABLE.schema) as writer:
        writer.write_table(TABLE)
    return folder


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "file"])
def test_a_folder_that_datasets_saved_is_read(tmp_path: Path, stream: bool):
    folder = saved_to_disk(tmp_path / "set", stream=stream)
    (folder / "cache-1234.arrow").write_bytes(b"left over")
    assert is_dataset_folder(folder)
    assert [path.name for path in dataset_files(folder)] == ["data-00000-of-00001.arrow"]
    assert [row for path in dataset_files(folder) for _, row in rows(path)] == ROWS


def test_all_splits_of_a_saved_dataset_are_read(tmp_path: Path):
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    saved_to_disk(tmp_path / "train")
    saved_to_disk(tmp_path / "test")
    assert is_dataset_folder(tmp_path)
    assert [path.parent.name for path in dataset_files(tmp_path)] == ["test", "train"]


def test_a_folder_laid_out_like_a_hub_dataset_is_read(tmp_path: Path):
    (tmp_path / "data").mkdir()
    for name in ("train-00001.parquet", "train-00000.parquet"):
        pq.write_table(TABLE, tmp_path / "data" / name)
    assert is_dataset_folder(tmp_path)
    assert [path.name for path in dataset_files(tmp_path)] == ["train-00000.parquet", "train-00001.parquet"]


def test_an_ordinary_folder_is_no_dataset(tmp_path: Path):
    (tmp_path / "notes.md").write_text("x")
    assert not is_dataset_folder(tmp_path)
    assert not is_dataset_folder(tmp_path / "notes.md")
