import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from understudy.errors import PersonaError
from understudy.models.embedder import Matrix
from understudy.nouns import Persona, Seed
from understudy.personas import PersonaSet
from understudy.personas.coverage import Topic, cover, shares, targets_in, topics_in, topics_of
from understudy.personas.maps import draw, lay_out, page


class Compass:
    """Vectors by text, in degrees: what is near what can be seen in the test."""

    name = "compass"
    dimensions = 2

    def __init__(self, **degrees: float) -> None:
        self.degrees = degrees

    def embed(self, texts: list[str]) -> Matrix:
        angles = np.radians([self.degrees[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


COMPASS = Compass(north=0, east=90, south=180, nora=10, norbert=20, esther=95, nobody=270)
NORTH, EAST, SOUTH = (Topic(name, name, Seed.of("topic", name, "t:1")) for name in ("north", "east", "south"))


def people(*texts: str) -> PersonaSet:
    return PersonaSet("people", "Some <b>people</b>.", "MIT", tuple(map(Persona.of, texts)))


def test_a_topic_is_covered_by_who_is_within_reach_and_gaps_are_named():
    found = cover(people("nora", "norbert", "esther", "nobody"), [NORTH, EAST, SOUTH], COMPASS, reach=0.5)
    assert [one.nearest.text for one in found.topics] == ["nora", "esther", "esther"]
    assert found.topics[0].similarity == pytest.approx(math.cos(math.radians(10)))
    assert [one.topic.name for one in found.gaps] == ["south"]
    assert found.share == pytest.approx(2 / 3)
    assert [one.text for one in found.idle] == ["nobody"]
    # Two are nearest to north, one to east, none to south.
    parts = np.array([2 / 3, 1 / 3])
    assert found.evenness == pytest.approx(-(parts * np.log(parts)).sum() / math.log(3))


@pytest.mark.parametrize(
    ("texts", "evenness"), [(("nora", "esther"), 1.0), (("nora", "norbert"), 0.0), (("nobody",), 0.0)]
)
def test_evenness_lies_between_all_at_one_topic_and_as_many_at_each(texts: tuple[str, ...], evenness: float):
    assert cover(people(*texts), [NORTH, EAST], COMPASS, 0.5).evenness == pytest.approx(evenness)


def test_many_personas_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch):
    made, topics = people("norbert", "nora", "esther", "nobody"), [NORTH, EAST, SOUTH]
    whole = cover(made, topics, COMPASS, 0.5)
    monkeypatch.setattr("understudy.personas.coverage._BLOCK", 2)
    parts = cover(made, topics, COMPASS, 0.5)
    assert (parts.topics, parts.idle, parts.evenness) == (whole.topics, whole.idle, whole.evenness)


def test_shares_are_told_and_those_far_from_their_target_raise_an_alarm():
    known = [Persona.of(f"p{number}", attributes={"place": "Ghana" if number < 30 else "Peru"}) for number in range(40)]
    made = replace(people("x"), personas=(*known, Persona.of("of nowhere")))
    told = {one.value: one for one in shares(made, {"place": {"Ghana": 0.5, "Peru": 0.25, "Fiji": 0.2}})}
    assert (told["Ghana"].count, told["Ghana"].share) == (30, 0.75)
    assert [one.value for one in told.values() if one.alarm] == ["Ghana", "Fiji"]
    assert not any(one.alarm or one.target for one in shares(made))


def test_topics_are_lines_of_a_file_or_seeds(tmp_path: Path):
    (tmp_path / "t.txt").write_text("  north \n\neast\n")
    assert [(topic.name, topic.seed.kind) for topic in topics_in(tmp_path / "t.txt")] == [
        ("north", "topic"),
        ("east", "topic"),
    ]
    headed = Seed.of("text", "Dough rises.", "a.md", headings=["Bread", "Baking"])
    bare = Seed.of("text", "one two three four five six seven eight nine ten eleven", "b.md")
    assert [topic.name for topic in topics_of([headed, bare])] == [
        "Bread › Baking",
        "one two three four five six seven eight nine ten",
    ]
    longer = replace(headed, content="Knead it.")
    assert [topic.seed for topic in topics_of([headed, longer])] == [headed]  # a section is one topic


@pytest.mark.parametrize(("text", "said"), [("", "no topics"), ("a\nb\na\n", "t.txt:3: 'a' stands twice")])
def test_a_bad_list_of_topics_is_named(tmp_path: Path, text: str, said: str):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(PersonaError, match=said):
        topics_in(tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("place: [a", "not valid YAML"),
        ("- place", "not a mapping"),
        ("colour: {red: 1}", "colour: unknown attribute"),
        ("place: Ghana", "place: not a mapping"),
        ("place: {Ghana: many}", "place.Ghana: got 'many'"),
        ("place: {Ghana: 0.7, Peru: 0.7}", "add up to more than 1"),
    ],
)
def test_bad_targets_are_named(tmp_path: Path, text: str, said: str):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(PersonaError, match=said):
        targets_in(tmp_path / "t.yaml")


def crowd(number: int) -> tuple[PersonaSet, Compass]:
    texts = [f"miller {n}" if n < number // 2 else f"baker {n}" for n in range(number)]
    degrees = {text: n if n < number // 2 else 90 + n for n, text in enumerate(texts)}
    return people(*texts), Compass(north=0, south=180, **degrees)


def test_a_map_is_the_same_each_time_and_names_its_clusters():
    made, compass = crowd(40)
    found = cover(made, [NORTH, SOUTH], compass, 0.5)
    one, other = lay_out(made, found), lay_out(made, found)
    assert np.array_equal(one.personas, other.personas) and one.labels == other.labels
    assert one.personas.shape == (40, 2) and one.topics.shape == (2, 2)
    assert {label.split(",")[0] for label in one.labels} <= {"miller", "baker"}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_few_can_be_drawn(number: int):
    made, compass = crowd(number)
    assert lay_out(made, cover(made, [NORTH], compass)).personas.shape == (number, 2)


def test_of_very_many_some_are_drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("understudy.personas.maps._MOST", 10)
    made, compass = crowd(25)
    assert lay_out(made, cover(made, [NORTH], compass)).drawn == (0, 3, 6, 9, 12, 15, 18, 21, 24)


def test_the_page_escapes_what_it_shows_and_has_no_script(tmp_path: Path):
    evil = '"><script>alert(1)</script>'
    made = replace(people("nora", "esther", "nobody"), name=evil)
    compass = Compass(**COMPASS.degrees | {evil: 180})
    found = cover(made, [NORTH, EAST, Topic(evil, evil, NORTH.seed)], compass, 0.5)
    said = page(made, found, shares(made), lay_out(made, found))
    assert "<script" not in said and "&lt;script&gt;" in said and "default-src 'none'" in said
    assert said.count("<circle") == 3 and said.count("<rect") == 3


def test_maps_are_drawn_into_pages_and_pictures(tmp_path: Path):
    made, compass = crowd(12)
    found = cover(made, [NORTH, SOUTH], compass, 0.5)
    for name, head in (("m.html", b"<!doctype html>"), ("m.png", b"\x89PNG"), ("m.svg", b"<?xml")):
        draw(tmp_path / name, made, found, [])
        assert (tmp_path / name).read_bytes().startswith(head)
    for name, said in (("m.gif", "cannot draw"), ("nowhere/m.png", "no such folder")):
        with pytest.raises(PersonaError, match=said):
            draw(tmp_path / name, made, found, [])
