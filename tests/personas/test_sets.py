import re
from pathlib import Path

import pytest

from understudy.errors import PersonaError
from understudy.models import open_embedder
from understudy.nouns import Persona
from understudy.personas import distinct, load_set, merged, shipped_sets


def refusal(tmp_path: Path, text: str | bytes) -> PersonaError:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(PersonaError) as caught:
        load_set("mine.yaml", tmp_path)
    assert str(path) in str(caught.value.where)
    return caught.value


@pytest.mark.parametrize("name", shipped_sets())
def test_a_shipped_set_is_full_and_ready_to_use(name: str):
    made = load_set(name)
    assert made.name == name
    assert made.description.endswith(".") and made.license == "Apache-2.0"
    assert len(made.personas) >= 20
    assert len({persona.text.casefold() for persona in made.personas}) == len(made.personas)
    for persona in made.personas:
        assert persona == Persona.of(persona.text, attributes=persona.attributes)
        assert 6 <= len(persona.text.split()) <= 40 and persona.text.endswith(".")


def test_the_number_in_a_set_s_description_is_the_number_of_its_members():
    words = {"Twenty-four": 24, "Forty": 40, "Sixty": 60}
    for name in shipped_sets():
        made = load_set(name)
        first = made.description.split()[0]
        assert words.get(first, len(made.personas)) == len(made.personas)


DOMAINS = {"finance", "medicine", "public-services", "retail", "science-education", "software"}


def test_the_shipped_sets_are_there():
    assert {"everyday", "learning"} | DOMAINS == set(shipped_sets())


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_a_set_of_a_domain_holds_sixty_who_differ_in_what_is_known_of_them(name: str):
    made = load_set(name)
    assert len(made.personas) >= 60 and made.domain
    for attribute, values in (("role", 30), ("place", 40), ("age", 5)):
        assert len({persona.attributes[attribute] for persona in made.personas}) >= values
    assert all(re.fullmatch(r"\d+-\d+", persona.attributes["age"]) for persona in made.personas)


@pytest.mark.slow
def test_nobody_in_the_shipped_sets_is_a_near_copy_of_another():
    embedder = open_embedder("embedded")
    for name in DOMAINS:
        assert distinct(load_set(name), embedding=0.7, embedder=embedder)[1] == []
    everybody = merged([load_set(name) for name in shipped_sets()], "everybody")
    assert distinct(everybody, embedder=embedder)[1] == []


def test_a_set_of_one_s_own_is_read_relative_to_the_recipe(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(
        "name: millers\ndescription: Two.\nlicense: MIT\n"
        "personas:\n  - A miller.\n  - >\n    A miller's\n    apprentice.\n"
    )
    made = load_set("mine.yaml", tmp_path)
    assert (made.name, made.description, made.license) == ("millers", "Two.", "MIT")
    assert [persona.text for persona in made.personas] == ["A miller.", "A miller's apprentice."]


def test_a_set_may_be_no_more_than_its_members(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("personas: [A miller.]\n")
    made = load_set(str(tmp_path / "mine.yaml"))
    assert (made.name, made.description, made.license, len(made.personas)) == ("mine", "", "unknown", 1)


def test_a_shipped_name_with_a_typo_says_which_was_meant():
    with pytest.raises(PersonaError) as caught:
        load_set("evryday")
    assert caught.value.message == "no persona set `evryday`"
    assert caught.value.remedy == "did you mean `everyday`?"
    assert "everyday, finance, learning" in str(caught.value.expected)


def test_an_unknown_set_like_no_other_points_at_the_recipe():
    with pytest.raises(PersonaError) as caught:
        load_set("zzz.yaml")
    assert "personas.set" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("personas:\n  - a: [b\n", 3, "not valid YAML"),
        ("personas:\n\t- A miller.\n", 2, "not valid YAML"),
        ("- A miller.\n", 1, "not a mapping"),
        ("", 1, "not a mapping"),
        ("name: x\npersonas: []\n", 2, "no personas"),
        ("name: x\n", 1, "no personas"),
        ("name: x\npersonas: A miller.\n", 2, "no personas"),
        ("name: x\ncolour: red\npersonas: [A miller.]\n", 2, "unknown key"),
        ("personas:\n  - A miller.\n  - [A baker.]\n", 3, "not a sentence"),
        ("personas:\n  - A miller.\n  - role: baker\n", 3, "no text"),
        ("personas:\n  - text: A miller.\n    trade: corn\n", 3, "unknown key"),
        ("personas:\n  - text: A miller.\n    hop: -1\n", 3, "got '-1'"),
        ("personas:\n  - text: A miller.\n    origin: rumour\n", 3, "got 'rumour'"),
        ("personas:\n  - text: A miller.\n    role: [miller]\n", 3, "not a text"),
        ("personas:\n  - A miller.\n  -\n", 3, "not a sentence"),
        ("personas:\n  - A miller.\n  - ~\n", 3, "not a sentence"),
        ("personas:\n  - A miller.\n  - A baker.\n  - A  miller.\n", 4, "stands twice"),
        ("personas: [A miller.]\npersonas: [A baker.]\n", 2, "stands twice"),
        ("? [a, b]\n: c\npersonas: [A miller.]\n", 1, "unknown key"),
    ],
    ids=["open bracket", "tab", "list", "empty", "empty list", "missing", "scalar", "unknown key", "list in list",
         "no text", "unknown attribute", "hop", "origin", "attribute", "blank", "null", "twins", "key twice",
         "list as key"],
)  # fmt: skip
def test_a_bad_set_is_named_with_its_line(tmp_path: Path, text: str, line: int, said: str):
    error = refusal(tmp_path, text)
    assert said in error.message
    assert f"mine.yaml:{line}" in str(error.where)


@pytest.mark.parametrize(
    "text", [b"personas: [caf\xe9]\n", b"personas: [a\x07]\n"], ids=["latin-1", "control character"]
)
def test_a_set_that_is_no_text_is_refused(tmp_path: Path, text: bytes):
    refusal(tmp_path, text)


def test_the_version_follows_the_members(tmp_path: Path):
    def version(text: str) -> str:
        (tmp_path / "mine.yaml").write_text(text)
        return load_set("mine.yaml", tmp_path).version

    first = version("personas: [A miller., A baker.]\n")
    assert version("name: other\npersonas: [A miller., A baker.]\n") == first
    assert version("personas: [A baker., A miller.]\n") != first
    assert version("personas: [A miller.]\n") != first
