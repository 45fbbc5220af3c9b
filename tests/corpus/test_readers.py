import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.corpus.readers import files, read_source, read_sources, unread
from understudy.errors import SeedError
from understudy.nouns import Persona, Seed
from understudy.personas import PersonaSet, save_set
from understudy.recipe import Recipe, Source

TEXT = "A lock lifts boats from one level of a canal to the next."


def read(path: Path, **source: object) -> list[Seed]:
    return list(read_source(Source(path=str(path), **source), path))  # type: ignore[arg-type]


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path: Path):
    put(tmp_path / "b.md", TEXT)
    put(tmp_path / "a.csv", "river,km\nElbe,1094\n")
    put(tmp_path / "c" / "d.py", "def go():\n    return 1\n")
    seeds = read(tmp_path)
    assert [(seed.kind, seed.source) for seed in seeds] == [
        ("table", "a.csv:2"),
        ("text", "b.md:1"),
        ("code", "c/d.py:1"),
    ]


def test_a_single_file_is_named_by_its_name(tmp_path: Path):
    (seed,) = read(put(tmp_path / "notes.txt", TEXT))
    assert (seed.kind, seed.content, seed.source) == ("text", TEXT, "notes.txt:1")


def test_a_seed_says_its_licence_and_length(tmp_path: Path):
    (seed,) = read(put(tmp_path / "a.md", f"# Locks\n\n{TEXT}"), license="CC0-1.0")
    assert seed.meta == {"license": "CC0-1.0", "headings": ["Locks"], "tokens": 17}


def test_reading_the_same_files_elsewhere_gives_the_same_ids(tmp_path: Path):
    one = read(put(tmp_path / "one" / "a.md", TEXT))
    assert [s.id for s in read(put(tmp_path / "two" / "b.txt", TEXT))] == [s.id for s in one]


def test_rows_are_shown_together_as_a_table(tmp_path: Path):
    path = put(tmp_path / "a.csv", "river,km\n" + "".join(f"R{n},{n}\n" for n in range(5)))
    seeds = read(path, rows_per_seed=2)
    assert [len(seed.meta["rows"]) for seed in seeds] == [2, 2, 1]
    assert seeds[0].content == "| river | km |\n| --- | --- |\n| R0 | 0 |\n| R1 | 1 |"
    assert [seed.source for seed in seeds] == ["a.csv:2", "a.csv:4", "a.csv:6"]


def test_rows_of_jsonl_may_differ_in_their_columns(tmp_path: Path):
    (seed,) = read(put(tmp_path / "a.jsonl", '{"a": 1}\n{"b": [2], "a": null}\n'))
    assert seed.meta["columns"] == ["a", "b"]
    assert seed.meta["rows"] == [["1", ""], ["", "[2]"]]


def test_identical_rows_are_seeds_of_their_own(tmp_path: Path):
    path = put(tmp_path / "a.csv", "river,km\n" + "Elbe,1\n" * 6)
    seeds = read(path, rows_per_seed=1)
    assert len({seed.content for seed in seeds}) == 1
    assert len({seed.id for seed in seeds}) == 6


def test_identical_seeds_of_two_sources_are_told_apart(tmp_path: Path):
    put(tmp_path / "a.md", TEXT)
    put(tmp_path / "b.md", TEXT)
    recipe = Recipe.model_validate({"name": "x", "accept": 1, "seeds": [{"path": "a.md"}, {"path": "b.md"}]}).at(
        tmp_path
    )
    found = list(read_sources(recipe))
    assert [index for index, _ in found] == [0, 1]
    assert len({seed.id for _, seed in found}) == 2


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_with_a_text_field_each_row_is_a_document(tmp_path: Path, suffix: str):
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        put(path, json.dumps({"body": TEXT, "n": 1}) + "\n" + json.dumps({"body": "Second."}) + "\n")
    elif suffix == "csv":
        put(path, f"body,n\n{TEXT},1\nSecond.,2\n")
    else:
        pq.write_table(pa.table({"body": [TEXT, "Second."]}), path)
    seeds = read(path, text_field="body")
    assert [(seed.kind, seed.content) for seed in seeds] == [("text", TEXT), ("text", "Second.")]


@pytest.mark.parametrize(
    ("row", "said"), [('{"text": "x"}', "missing"), ('{"body": 5}', "not text"), ('{"body": null}', "not text")]
)
def test_a_text_field_that_is_not_there_is_named_with_the_columns(tmp_path: Path, row: str, said: str):
    path = put(tmp_path / "a.jsonl", f'{{"body": "ok"}}\n{row}\n')
    with pytest.raises(SeedError) as caught:
        read(path, text_field="body")
    assert caught.value.message == f"column `body` is {said}"
    assert caught.value.where == f"{path}:2"
    assert "text_field" in str(caught.value.remedy)


def test_a_dataset_folder_is_read_as_one_table(tmp_path: Path):
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"river": ["Elbe"]}), tmp_path / "data" / "train-0.parquet")
    put(tmp_path / "README.md", TEXT)
    assert [(s.kind, s.source) for s in read(tmp_path)] == [("table", "data/train-0.parquet:row 1")]


@pytest.mark.parametrize(
    ("kind", "names"),
    [("text", ["a.md"]), ("table", ["b.csv"]), ("code", ["c.rs"]), ("auto", ["a.md", "b.csv", "c.rs"])],
)
def test_a_kind_narrows_a_folder_to_its_files(tmp_path: Path, kind: str, names: list[str]):
    put(tmp_path / "a.md", TEXT), put(tmp_path / "b.csv", "a\nx\n"), put(tmp_path / "c.rs", "fn go() {}")
    source = Source(path=".", kind=kind)  # type: ignore[arg-type]
    assert [file.name for file in files(source, tmp_path)] == names
    assert len(unread(source, tmp_path)) == 3 - len(names)


@pytest.mark.parametrize(("name", "kind"), [("b.csv", "text"), ("a.md", "table"), ("a.md", "code")])
def test_a_file_that_is_not_of_the_kind_asked_for_is_refused(tmp_path: Path, name: str, kind: str):
    path = put(tmp_path / name, "a,b\n1x,2\n")
    with pytest.raises(SeedError) as caught:
        read(path, kind=kind)
    assert str(path) in str(caught.value.where)


def test_files_that_no_reader_takes_are_reported_and_hidden_ones_are_not(tmp_path: Path):
    put(tmp_path / "a.md", TEXT), put(tmp_path / "photo.png", b"\x89"), put(tmp_path / ".git" / "x.md", TEXT)
    put(tmp_path / ".hidden.md", TEXT)
    source = Source(path=".")
    assert [file.name for file in unread(source, tmp_path)] == ["photo.png"]
    assert [file.name for file in files(source, tmp_path)] == ["a.md"]


def test_undecodable_text_is_named_by_line_and_column(tmp_path: Path):
    path = put(tmp_path / "a.md", b"first\nsecond caf\xe9\n")
    with pytest.raises(SeedError) as caught:
        read(path)
    assert caught.value.message == "not UTF-8: byte 0xe9"
    assert caught.value.where == f"{path}:2:11"
    assert "iconv" in str(caught.value.remedy)


def test_a_nul_character_is_named_by_line(tmp_path: Path):
    path = put(tmp_path / "a.md", "first\nsec\0ond\n")
    with pytest.raises(SeedError) as caught:
        read(path)
    assert caught.value.where == f"{path}:2"
    assert "NUL" in caught.value.message


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.csv", "a.jsonl", "a.py"])
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path, name: str):
    text = {"a.csv": "river,km\nElbe,1\n", "a.jsonl": '{"a": 1}\n', "a.py": "def go():\n    return 1\n"}.get(
        name, f"{TEXT}\n\n{TEXT}\n"
    )
    plain = read(put(tmp_path / "unix" / name, text))
    assert read(put(tmp_path / "windows" / name, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())) == plain
    assert len(plain) == 1


def recipe(folder: Path) -> Recipe:
    return Recipe.model_validate({"name": "x", "accept": 1, "seeds": [{"path": "in"}]}).at(folder)


def test_a_missing_source_is_named(tmp_path: Path):
    with pytest.raises(SeedError) as caught:
        list(read_sources(recipe(tmp_path)))
    assert caught.value.message == "no such file or folder"
    assert caught.value.where == str(tmp_path / "in")


@pytest.mark.parametrize(
    "name", [None, "a.md", "a.csv", "photo.png"], ids=["no file", "empty", "header only", "unknown"]
)
def test_a_source_without_seeds_is_named_and_says_what_is_read(tmp_path: Path, name: str | None):
    (tmp_path / "in").mkdir()
    if name:
        put(tmp_path / "in" / name, "river,km\n" if name == "a.csv" else "")
    with pytest.raises(SeedError) as caught:
        list(read_sources(recipe(tmp_path)))
    assert caught.value.message == "holds no seeds"
    assert caught.value.where == str(tmp_path / "in")
    assert "seeds[0].path" in str(caught.value.remedy)
    assert ".md" in str(caught.value.expected)


def test_reading_is_lazy(tmp_path: Path):
    put(tmp_path / "a.md", TEXT), put(tmp_path / "b.md", b"\xff")
    assert next(read_source(Source(path="."), tmp_path)).content == TEXT


@pytest.mark.parametrize("name", ["two.yaml", "two", "two/personas.parquet", "hub.jsonl"])
def test_each_person_of_a_set_is_a_seed(tmp_path: Path, name: str):
    members = (Persona.of("A nurse.", attributes={"age": "30-39"}), Persona.of("A judge."))
    save_set(PersonaSet("two", "", "CC0-1.0", members), tmp_path / "two.yaml")
    save_set(PersonaSet("two", "", "CC0-1.0", members), tmp_path / "two")
    put(tmp_path / "hub.jsonl", "".join(json.dumps({"persona": one.text, "age": 34}) + "\n" for one in members))
    nurse, judge = read(tmp_path / name, kind="persona")
    assert (nurse.kind, nurse.content, judge.content) == ("persona", "A nurse.", "A judge.")
    assert Persona(**nurse.meta["persona"]).id == members[0].id
    assert nurse.meta["persona"]["attributes"] == {"age": "30-39"}
