import json
import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.nouns import Example, Persona, Seed, address, canonical

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_the_canonical_form_reads_back_as_the_value(value: object):
    assert json.loads(canonical(value)) == value


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_change_an_address(value: dict[str, int]):
    turned = dict(reversed(value.items()))
    assert canonical(value) == canonical(turned)
    assert address(value) == address(turned)


@settings(deadline=None)
@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_two_lists_of_parts_share_an_address_only_when_equal(one: list[str], other: list[str]):
    assert (address(*one) == address(*other)) == (one == other)


def test_parts_do_not_run_together_in_an_address():
    assert address("ab", "c") != address("a", "bc")


def test_canonical_has_sorted_keys_no_spaces_and_letters_as_they_are():
    assert canonical({"b": [1, 2], "a": "é"}) == '{"a":"é","b":[1,2]}'


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=["nan", "inf"])
def test_canonical_refuses_what_json_does_not_have(value: float):
    with pytest.raises(ValueError):
        canonical(value)


def test_a_lone_surrogate_has_an_address():
    assert len(address("\ud83d")) == 32


def test_ids_are_what_they_were_in_the_first_release():
    # Golden: if one of these changes, no existing corpus can be resumed.
    assert address("seed", "text", "hello", 0) == "d2ecd30467ad2af6a6c4291ceda3b270"
    assert Seed.of("text", "hello", "a.md:1").id == "d2ecd30467ad2af6a6c4291ceda3b270"
    assert Persona.of("A baker.").id == "96f9c34eafc3487a54508d39d41c6105"
    messages = {"messages": [{"role": "user", "content": "Hi"}]}
    assert Example.address("chat", messages, "seed-id", 0) == "a274154d2e8a0981511fddba8dc710ad"


def test_a_seed_keeps_its_id_when_its_file_moves():
    assert Seed.of("text", "hello", "a.md:1").id == Seed.of("text", "hello", "b/c.md:9", license="MIT").id


def test_kind_content_and_occurrence_make_different_seeds():
    ids = {
        Seed.of("text", "hello", "a:1").id,
        Seed.of("code", "hello", "a:1").id,
        Seed.of("text", "hello!", "a:1").id,
        Seed.of("text", "hello", "a:1", occurrence=1).id,
    }
    assert len(ids) == 4


def test_an_example_of_another_draw_has_another_id():
    payload: dict[str, object] = {"messages": []}
    assert len({Example.address("chat", payload, seed, draw) for seed in "ab" for draw in (0, 1)}) == 4


def test_a_noun_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Persona.of("A baker.").text = "A cook."  # type: ignore[misc]
