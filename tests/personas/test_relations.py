from pathlib import Path

import pytest

from understudy.errors import PersonaError
from understudy.personas import load_relations


def test_the_shipped_relations_go_on_from_somebody_else_who():
    found = load_relations()
    assert len(found) >= 12 and list(found) == sorted(found)
    assert all("this person" in words and not words.endswith(".") for words in found.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a mapping"),
        ("- colleague", "not a mapping"),
        ("colleague: [a", "not valid YAML"),
        ("colleague:", "colleague: got None"),
        ("colleague: 3", "colleague: got 3"),
        ("3: works here", "3: got 'works here'"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, said: str):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(PersonaError, match=said):
        load_relations(tmp_path / "r.yaml")


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path):
    with pytest.raises(PersonaError, match="no such file"):
        load_relations(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_bytes(b"a: \xff")
    with pytest.raises(PersonaError, match="not UTF-8 at byte 3"):
        load_relations(tmp_path / "r.yaml")
