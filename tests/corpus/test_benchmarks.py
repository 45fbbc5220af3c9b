import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.corpus.benchmarks import Item, items
from understudy.errors import UserError

ROWS = [
    {"question": "What is a lock?", "choices": {"text": ["a gate", "a dam"], "label": ["A", "B"]}, "answer": 0},
    {"question": "What is a weir?", "choices": {"text": [], "label": []}, "answer": 1},
]


def written(path: Path) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.write_text("question,answer\nWhat is a lock?,a gate\n")
    return path


@pytest.mark.parametrize(("name", "place"), [("b.jsonl", "b.jsonl:1"), ("b.parquet", "b.parquet:row 1")])
def test_each_row_is_an_item_with_all_its_texts(tmp_path: Path, name: str, place: str):
    found = [*items(written(tmp_path / name))]
    assert len(found) == 2
    assert found[0] == Item(place, ("What is a lock?", "a gate", "a dam", "A", "B"))


def test_named_columns_alone_count(tmp_path: Path):
    (first, _) = items(written(tmp_path / "b.jsonl"), ["choices"])
    assert first.texts == ("a gate", "a dam", "A", "B")
    (only,) = items(written(tmp_path / "b.csv"), ["answer", "no such"])
    assert only.texts == ("a gate",)


def test_paragraphs_of_a_text_file_are_items(tmp_path: Path):
    file = tmp_path / "b.txt"
    file.write_text("One\nline.\n\n  \nTwo.\n")
    assert [*items(file)] == [Item("b.txt:paragraph 1", ("One\nline.",)), Item("b.txt:paragraph 2", ("Two.\n",))]


def test_a_folder_is_read_file_by_file(tmp_path: Path):
    folder = tmp_path / "bench"
    folder.mkdir()
    written(folder / "b.csv")
    written(folder / "a.jsonl")
    (folder / "notes.pdf").write_bytes(b"")
    assert [item.place for item in items(folder)] == ["bench/a.jsonl:1", "bench/a.jsonl:2", "bench/b.csv:2"]


@pytest.mark.parametrize(
    ("name", "content", "columns", "why"),
    [
        ("none.jsonl", None, [], "no such benchmark"),
        ("b.exe", "x", [], "cannot be read as a benchmark"),
        ("b.jsonl", '{"q": "a"}\n', ["question", "text"], "has no column `question` or `text`"),
        ("b.jsonl", '{"q": 3}\n', ["q"], "column `q` holds no text"),
        ("b.jsonl", '{"q": "a"\n', [], "not valid JSON"),
        ("b.jsonl", '{"q": [3]}\n', [], "holds no text"),
        ("b.csv", "q\n", [], "holds no text"),
        ("b.txt", " \n\n ", [], "holds no text"),
        ("b.parquet", "nonsense", [], "unreadable"),
        ("b.txt", b"caf\xe9", [], "not UTF-8"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str | bytes | None, columns: list[str], why: str
):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        list(items(file, columns))
    assert why in error.value.message
    assert error.value.where and name in error.value.where
    assert error.value.remedy or "JSON" in why  # that message shows what is wrong with the line


def test_a_folder_without_benchmarks_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="no file in it"):
        list(items(tmp_path))
