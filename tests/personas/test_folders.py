import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.corpus import persona_folders as folders
from understudy.errors import PersonaError
from understudy.nouns import Persona
from understudy.personas import PersonaSet, load_set, merged, save_set

NURSE = Persona.of("A ward nurse.", attributes={"role": "nurse", "place": "Porto", "age": "30-39"}, source="a.md:3")
SON = Persona.of("Her son, who wants to drive lorries.", "relation", parent=NURSE.id, relation="child", hop=1)
WARD = PersonaSet("ward", "People of a ward.", "CC-BY-4.0", (NURSE, SON), "medicine", "by hand", "m@abc")


@pytest.mark.parametrize("name", ["ward.yaml", "ward"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str):
    save_set(WARD, tmp_path / name)
    assert load_set(name, tmp_path) == WARD


def test_a_folder_is_a_dataset(tmp_path: Path):
    from datasets import load_dataset

    save_set(WARD, tmp_path / "ward")
    rows = load_dataset(str(tmp_path / "ward"), split="train", cache_dir=str(tmp_path / "cache")).to_list()
    assert [row["text"] for row in rows] == [NURSE.text, SON.text]
    assert rows[0]["role"] == "nurse" and rows[1]["parent"] == NURSE.id


def test_nothing_is_overwritten(tmp_path: Path):
    (tmp_path / "ward").mkdir()
    with pytest.raises(PersonaError, match="is there already"):
        save_set(WARD, tmp_path / "ward")


def test_persona_hub_is_taken_as_it_is(tmp_path: Path):
    lines = [
        {"persona": "A political analyst for El Salvador.", "general domain (top 1 percent)": "Politics",
         "specific domain (top 1 percent)": "None"},
        {"persona": "  A   chemist.  ", "general domain (top 1 percent)": "none"},
        {"persona": "A chemist."},
        {"persona": ""},
    ]  # fmt: skip
    (tmp_path / "persona.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    members, told = folders.take(tmp_path / "persona.jsonl")
    assert [one.text for one in members] == ["A political analyst for El Salvador.", "A chemist."]
    assert members[0].attributes == {"domain": "Politics"}
    assert told == {"personas": 2, "twins": 1, "empty": 1}


def test_examples_of_persona_hub_bring_their_personas(tmp_path: Path):
    (tmp_path / "math.jsonl").write_text(json.dumps({"input persona": "A chemist.", "synthesized text": "…"}))
    assert folders.take(tmp_path / "math.jsonl")[0] == (Persona.of("A chemist."),)


def test_nemotron_personas_are_taken_as_they_are(tmp_path: Path):
    row = {
        "uuid": "0f", "professional_persona": "…", "persona": "Ana runs a bakery and sings in a choir.",
        "skills_and_expertise_list": "['bread', \"bakers' maths\"]", "sex": "Female", "age": 47,
        "occupation": "baker_or_confectioner", "city": "Austin", "state": "TX", "zipcode": "78701", "country": "USA",
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "train.parquet")
    ((one,), _) = folders.take(tmp_path / "train.parquet")
    assert one.text == "Ana runs a bakery and sings in a choir." and one.source == "0f"
    assert one.attributes == {
        "role": "baker or confectioner",
        "expertise": "bread, bakers maths",
        "place": "Austin, TX, USA",
        "age": "40-49",
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"persona": "A."}\n{', "a.jsonl:2: not valid JSON"),
        ("a.jsonl", '{"who": "A."}', "has the columns who"),
        ("a.jsonl", "", "no personas"),
        ("a.csv", "persona\n", "no personas"),
        ("a.csv", b"persona\ncaf\xe9\n", "not UTF-8"),
        ("a.parquet", "PAR1", "unreadable"),
        ("a.txt", "A.", "not a table"),
        ("a.jsonl", '{"persona": "A.", "origin": "rumour"}', "origin 'rumour'"),
    ],
)
def test_what_is_no_table_of_personas_is_refused(tmp_path: Path, name: str, content: str | bytes, said: str):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PersonaError, match=said) as caught:
        folders.take(tmp_path / name)
    assert name in str(caught.value.where)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(PersonaError, match=r"nowhere\.jsonl: no such file"):
        folders.take(tmp_path / "nowhere.jsonl")


def test_a_folder_whose_card_is_broken_is_named(tmp_path: Path):
    save_set(WARD, tmp_path / "ward")
    (tmp_path / "ward" / "README.md").write_text("---\na: [b\n---\n")
    with pytest.raises(PersonaError, match=r"README\.md: front matter is not YAML"):
        load_set("ward", tmp_path)


def test_a_folder_without_a_card_is_a_set(tmp_path: Path):
    save_set(WARD, tmp_path / "ward")
    (tmp_path / "ward" / "README.md").unlink()
    made = load_set("ward", tmp_path)
    assert (made.name, made.license, len(made.personas)) == ("ward", "unknown", 2)


def test_who_is_in_several_sets_stands_once():
    other = PersonaSet("other", "", "MIT", (SON, Persona.of("A baker.")), "food")
    made = merged([WARD, other], "both")
    assert [one.text for one in made.personas] == [NURSE.text, SON.text, "A baker."]
    assert (made.license, made.domain, made.sm) == ("CC-BY-4.0 AND MIT", "medicine, food", "m@abc")
    assert made.made == f"merged of ward ({WARD.version[:12]}), other ({other.version[:12]})"
