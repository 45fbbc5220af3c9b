"""Records first, texts second: what is written, what is refused, and what whoever extracts is asked."""

import asyncio
import json
import re
from pathlib import Path
from random import Random

import pytest

from understudy.corpus import RunFolder
from understudy.errors import PromptError, RecipeError, SeedError
from understudy.evals import records
from understudy.graphs import generate
from understudy.graphs.sketch import loose_text_form, sketched, text_form
from understudy.models import Scripted
from understudy.nouns import Messages
from understudy.recipe import Inverted
from understudy.recipe_file import load_recipe

ROWS = [
    {
        "category": "Tea",
        "title": "Tazo Iced Green Tea, 12 Bags",
        "brand": "Tazo",
        "kind": "Green Tea",
        "size": "12 Bags",
    },
    {"category": "Tea", "title": "Loose Chai by Numi (1.5 lb)", "brand": "Numi", "kind": "Chai", "size": "1.5 lb"},
]
RECIPE = """
name: teas
seeds: [{path: teas.jsonl, kind: table, rows_per_seed: 2}]
accept: 3
draws_per_seed: 40
sm: {backend: scripted}
personas: {set: null}
agents: {persona: [], transform: [], instruct: [record-to-text], refine: [], judge: []}
inverted: {text: title, given: [category], kept: 0.5}
verify: {min_grounding: null}
dedup: {embedding: null}
test_share: 0
"""


def project(home: Path, text: str = RECIPE) -> Path:
    home.mkdir(exist_ok=True)
    (home / "teas.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (home / "recipe.yaml").write_text(text)
    return home / "recipe.yaml"


def run(recipe: Path, script: object) -> Path:
    asyncio.run(generate(load_recipe(recipe), recipe.parent / "corpus", sm=Scripted(script=script)))  # type: ignore[arg-type]
    return recipe.parent / "corpus"


def formed(messages: Messages) -> str:
    """Knows the form only once it has missed it: the second time, it fills it in."""
    said = messages[-1]["content"]
    if "the form /" not in said:
        if "Write the text" in said:
            return ", ".join(records.parsed(said.rpartition("\n")[2]).values())
        return "brand: of no form at all"
    form = said.partition("the form /")[2].rpartition("/. Do")[0]
    parts = []
    for place, part in enumerate(form.split(r" \| ")):
        name, _, value = part.partition(": ")
        word = re.sub(r"\[1-9\]\[0-9\]\{0,\d\}", "7", value) if r"[1-9]" in value else f"New{'abcde'[place]}x"
        kept = "[a-z]" not in value and "[A-Za-z" not in value and "[1-9]" not in value
        plain = re.sub(r"\\(.)", r"\1", value if kept else word)
        parts.append(f"{name}: {plain}")
    return " | ".join(parts)


def test_the_record_comes_first_and_is_the_answer_to_whoever_is_shown_its_text(tmp_path: Path) -> None:
    corpus = run(project(tmp_path), formed)
    with RunFolder.read(corpus) as folder:
        accepted = list(folder.examples("accepted"))
        assert len(accepted) == 3
        for example in accepted:
            asked, answered = (turn["content"] for turn in example.payload["messages"])
            text = re.search(r"^Text: (.*)$", asked, re.M)
            assert text and asked.startswith("category: Tea\nText: ")
            record = json.loads(answered)
            assert record and all(value in text[1] for value in record.values())
            assert len(example.calls) == 3
            first, second = folder.call(example.calls[1]), folder.call(example.calls[2])
            assert first and second and "Write the data" in first.messages[1]["content"]
            assert "Write the text" in second.messages[1]["content"]
            assert first.reply == records.line(record)
            assert any(verdict.by == "rule/values-in-text" and verdict.passed for verdict in example.verdicts)


def test_a_reply_that_misses_the_form_is_asked_for_again_and_then_counted_as_failed(tmp_path: Path) -> None:
    recipe = project(tmp_path, RECIPE.replace("draws_per_seed: 40", "draws_per_seed: 2"))
    corpus = run(recipe, lambda messages: "no record at all")
    with RunFolder.read(corpus) as folder:
        failed = list(folder.examples("failed"))
        assert len(failed) == 2 and {one.reason for one in failed} == {"parse: instruct/record-to-text"}
        assert all(len(one.calls) == 2 for one in failed)


def fields(form: str) -> dict[str, str]:
    """The form of each field of a record's form."""
    return dict(part.split(": ", 1) for part in form.split(r" \| "))


def test_a_sketch_has_the_fields_of_a_row_and_shows_all_rows() -> None:
    how = Inverted.model_validate({"text": "title", "given": ["category"], "kept": 1.0})
    for seed in range(20):
        drawn = sketched(ROWS, how, Random(seed))
        base = drawn.records[-1]
        assert list(base) == (["brand", "kind", "size"] if base["brand"] == "Tazo" else ["kind", "brand", "size"])
        assert drawn.given == {"category": "Tea"}
        assert all(row["title"] in drawn.material for row in ROWS)
        parts = fields(drawn.form)
        assert set(parts) <= set(base) and len(drawn.around) == len(parts) + 1
        assert all(part in {records.literal(row[name]) for row in ROWS} for name, part in parts.items())


def test_a_sketch_leaves_fields_out_and_changes_their_order_but_the_first_stays_where_it_is() -> None:
    rows = [{"text": "a b c d", "one": "a", "two": "b", "three": "c", "four": "d"}]
    drawn = [
        list(fields(sketched(rows, Inverted.model_validate({"text": "text", "kept": 1}), Random(seed)).form))
        for seed in range(200)
    ]
    assert all(names[0] == "one" and len(set(names)) == len(names) for names in drawn)
    assert 70 < sum(len(names) == 3 for names in drawn) < 130 and all(len(names) >= 3 for names in drawn)
    assert 20 < sum(names == ["one", "two", "three", "four"] for names in drawn) < 100
    assert {names[1] for names in drawn} == {"two", "three", "four"}


def test_a_value_that_is_not_kept_has_other_digits_or_is_some_words() -> None:
    import regex

    how = Inverted.model_validate({"text": "title", "given": ["category"], "kept": 0})
    for seed in range(20):
        forms = fields(sketched(ROWS, how, Random(seed)).form)
        assert regex.fullmatch(forms["brand"], "Rishi") and regex.fullmatch(forms["brand"], "Leaf and Pot")
        assert not regex.fullmatch(forms["brand"], "all of our best")
        if "size" in forms:
            assert regex.fullmatch(forms["size"], "34 Bags") or regex.fullmatch(forms["size"], "3.1 lb")


def test_a_new_name_begins_with_a_letter_that_no_name_of_the_seed_begins_with() -> None:
    import regex

    rows = [row | {"brand": brand, "title": row["title"].replace(row["brand"], brand)} for row, brand in
            zip(ROWS, ("7 Leaves", "tazo"), strict=True)]  # fmt: skip
    how = Inverted.model_validate({"text": "title", "given": ["category"], "names": ["brand"], "kept": 0})
    initials = set()
    for seed in range(60):
        form = fields(sketched(rows, how, Random(seed)).form)["brand"]
        initials.add(form[0])
        assert not any(regex.fullmatch(form, row["brand"]) for row in rows)
        assert regex.fullmatch(form, form[0] + "omato") or regex.fullmatch(form, form[0] + "omato Leaf")
    assert "T" not in initials and len(initials) > 15 and initials <= set("ABCDEFGHIJKLMNOPQRSUVWXYZ")


def test_what_is_kept_of_names_of_numbers_and_of_other_words_is_said_for_each() -> None:
    row = {"text": "Tazo Chai, 12 Bags", "brand": "Tazo", "kind": "Chai", "size": "12 Bags"}
    for kept in ("names", "numbers", "words"):
        shares = {"names": 0, "numbers": 0, "words": 0} | {kept: 1}
        how = Inverted.model_validate({"text": "text", "names": ["brand"], "kept": shares})
        forms = fields(sketched([row], how, Random(0)).form)
        known = {name for name, form in forms.items() if form == row[name]}
        assert known == {{"names": "brand", "numbers": "size", "words": "kind"}[kept]}


def test_where_every_letter_is_taken_a_new_name_may_begin_with_any() -> None:
    import string

    rows = [{"text": f"{letter}x", "name": f"{letter}x"} for letter in string.ascii_uppercase]
    drawn = sketched(rows, Inverted.model_validate({"text": "text", "names": ["name"], "kept": 0}), Random(0))
    assert re.match(r"name: [A-Z]\(\[a-z\]", drawn.form)


def test_the_form_of_a_text_wants_every_value_in_order_with_stretches_of_the_seeds_texts_around() -> None:
    import regex

    around = (("", "New "), (" Iced ", " Hot "), (" (box)",))
    form = text_form({"brand": "A+B", "size": "12 oz. (each)"}, around)
    assert regex.fullmatch(form, "A+B Iced 12 oz. (each) (box)")
    assert regex.fullmatch(form, "New A+B Hot 12 oz. (each) (box)")
    assert not regex.fullmatch(form, "12 oz. (each) Iced A+B (box)")
    assert not regex.fullmatch(form, "A+B of its own 12 oz. (each) (box)")
    assert not regex.fullmatch(form, "A+B Iced 12 oz. each (box)")
    free = loose_text_form({"brand": "A+B", "size": "12 oz. (each)"})
    assert regex.fullmatch(free, "Our A+B of its own: 12 oz. (each)!")
    assert not regex.fullmatch(free, "12 oz. (each) A+B") and not regex.fullmatch(free, "A+B 12 oz. each")


@pytest.mark.parametrize(
    ("record", "text", "stands"),
    [
        ({"brand": "Tazo", "size": "12 oz"}, "Tazo tea, 12 oz", True),
        ({"brand": "Tazo", "size": "2 oz"}, "Tazo tea, 12 oz", False),  # a part of a longer word
        ({"brand": "Taz"}, "Tazo tea", False),
        ({}, "Tazo tea", False),
    ],
)
def test_a_value_stands_in_a_text_as_a_whole_or_not_at_all(record: dict[str, str], text: str, stands: bool) -> None:
    assert records.grounded(record, text).passed is stands


def test_two_fields_with_one_value_or_one_in_another_and_a_row_of_the_seed_are_refused() -> None:
    assert not records.distinct({"color": "Black", "material": "black "}).passed
    assert not records.distinct({"kind": "Iced green tea", "flavor": "Green Tea"}).passed  # which is it, in the text?
    assert records.distinct({"color": "Black", "material": "Blackwood Leather"}).passed
    assert not records.new({"kind": "chai", "brand": "NUMI"}, [["Numi", "Chai"]]).passed
    assert records.new({"kind": "Chai", "brand": "Other"}, [["Numi", "Chai"]]).passed


def test_a_recipe_that_names_no_column_of_the_text_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    asked: list[str] = []
    without = re.sub(r"inverted: .*\n", "", RECIPE)
    with pytest.raises((PromptError, RecipeError), match="inverted"):
        run(project(tmp_path / "a", without), lambda messages: asked.append("x") or "x")
    with pytest.raises(SeedError, match="no column `name`"):
        run(project(tmp_path / "b", RECIPE.replace("text: title", "text: name")), lambda m: asked.append("x") or "x")
    with pytest.raises(SeedError, match="no column `categoy`"):
        run(
            project(tmp_path / "d", RECIPE.replace("given: [category]", "given: [categoy]")),
            lambda m: asked.append("x") or "x",
        )
    with pytest.raises(SeedError, match="no column `brnad`"):
        run(project(tmp_path / "e", RECIPE.replace("kept: 0.5", "names: [brnad]")), lambda m: asked.append("x") or "x")
    with pytest.raises(RecipeError, match=r"recipe.yaml:9: inverted.names"):
        load_recipe(project(tmp_path / "f", RECIPE.replace("kept: 0.5", "names: [category]")))
    with pytest.raises(RecipeError, match=r"recipe.yaml:9: inverted.kept(.|\n)*a number from 0 to 1, or one each"):
        load_recipe(project(tmp_path / "g", RECIPE.replace("kept: 0.5", "kept: half")))
    with pytest.raises(RecipeError, match=r"recipe.yaml:9: inverted.kept.words(.|\n)*equal to 1"):
        load_recipe(project(tmp_path / "h", RECIPE.replace("kept: 0.5", "kept: {words: 2}")))
    with pytest.raises(RecipeError, match=r"recipe.yaml:9: inverted.given"):
        load_recipe(project(tmp_path / "c", RECIPE.replace("given: [category]", "given: [title]")))
    assert not asked


def test_who_inverts_works_only_if_named() -> None:
    from understudy.agents import load_catalog

    assert not any(agent.prompt.first for agent in load_catalog().of("instruct", "table"))
