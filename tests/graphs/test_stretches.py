"""What stands around values: found in the seed's texts, and drawn as often as it stands there."""

from collections import Counter
from random import Random

from understudy.graphs.stretches import Stretches

FOUND = Stretches.of(
    [
        ("New Tazo Iced Green Tea, 12 Bags (box)", {"brand": "Tazo", "kind": "Green Tea", "size": "12 Bags"}),
        ("Numi Chai, 1.5 lb", {"brand": "Numi", "kind": "Chai", "size": "1.5 lb"}),
        ("Rishi Hot Oolong (2 lb)", {"brand": "Rishi", "kind": "Oolong", "size": "2 lb"}),
    ]
)


def test_every_stretch_is_found_at_its_place_and_as_often_as_it_is_there() -> None:
    assert FOUND.before == ("New ", "", "")
    assert sorted(FOUND.ahead) == sorted(
        [("kind", " Iced "), ("size", ", "), ("kind", " "), ("size", ", "), ("kind", " Hot "), ("size", " (")]
    )
    assert FOUND.after == (" (box)", "", ")")


def test_places_get_what_stands_ahead_of_their_field_as_often_as_in_the_texts() -> None:
    drawn = Counter(FOUND.drawn(("brand", "kind", "size"), Random(seed))[1] for seed in range(600))
    assert set(drawn) == {(" ",), (" Hot ", " Iced ")}
    assert 150 < drawn[(" ",)] < 250  # one of three


def test_among_stretches_of_words_the_sm_has_the_choice_and_other_stretches_are_what_was_drawn() -> None:
    for seed in range(50):
        before, kind, size, after = FOUND.drawn(("brand", "kind", "size"), Random(seed))
        assert before in {("",), ("New ",)} and kind in {(" ",), (" Hot ", " Iced ")}
        assert size in {(", ",), (" (",)} and after in {("",), (")",), (" (box)",)}


def test_a_bracket_that_is_opened_is_closed() -> None:
    for seed in range(200):
        places = FOUND.drawn(("brand", "kind", "size"), Random(seed))
        assert (places[2] == (" (",)) == (places[3] == (")",))


def test_a_field_that_no_text_shows_apart_gets_what_stands_ahead_of_others_or_plain_ones() -> None:
    within = Stretches.of([("Tazo Chai", {"brand": "Tazo Chai", "kind": "Chai"})])
    assert within == Stretches()  # the one lies within the other: nothing is told of what stands between
    for seed in range(20):
        assert within.drawn(("brand", "kind"), Random(seed))[1] in {(" ",), (", ",)}
        assert FOUND.drawn(("brand", "color"), Random(seed))[1][0] in {", ", " ", " (", " Hot "}
