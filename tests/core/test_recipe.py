from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import RecipeError
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

GOOD = "name: gears\nseeds:\n  - path: docs\naccept: 10\n"
Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str | bytes) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return put


def refusal(path: Path, *overrides: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return caught.value


def test_a_recipe_of_three_keys_is_enough(write: Write):
    recipe = load_recipe(write(GOOD))
    assert (recipe.name, recipe.accept, recipe.seeds[0].path, recipe.sm.backend) == ("gears", 10, "docs", "embedded")


def test_a_byte_order_mark_is_not_part_of_the_first_key(write: Write):
    assert load_recipe(write(b"\xef\xbb\xbf" + GOOD.encode())).name == "gears"


def test_a_missing_recipe_names_the_path_and_how_to_make_one(tmp_path: Path):
    error = refusal(tmp_path / "no.yaml")
    assert error.where == str(tmp_path / "no.yaml")
    assert "understudy init" in str(error.remedy)


def test_a_folder_is_not_a_recipe(tmp_path: Path):
    error = refusal(tmp_path)
    assert error.where == str(tmp_path)
    assert "one YAML file" in str(error.expected)


def test_a_recipe_that_is_not_utf8_names_the_byte(write: Write):
    error = refusal(write(b"name: caf\xe9\n"))
    assert "byte 9" in error.message
    assert "UTF-8" in str(error.remedy)


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "- a\n- b\n", "just words\n"], ids=["empty", "comment", "list", "words"]
)
def test_a_recipe_without_keys_says_which_keys_are_meant(write: Write, text: str):
    path = write(text)
    error = refusal(path)
    assert error.where == f"{path}:1"
    assert "name:" in str(error.expected)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: gears\nseeds: [\n", 3),
        ("name: gears\n\taccept: 1\n", 2),
        ("name: gears\n---\nname: more\n", 2),
        ("name: !!python/object:os.system x\n", 1),
    ],
    ids=["open bracket", "tab", "two documents", "python tag"],
)
def test_a_recipe_that_is_not_yaml_names_the_line(write: Write, text: str, line: int):
    path = write(text)
    error = refusal(path)
    assert error.message.startswith("not valid YAML")
    assert error.where == f"{path}:{line}"


@pytest.mark.parametrize(
    "text",
    ["name: \x07\n", "name: 2024-13-45\n", "name: " + "[" * 3000],
    ids=["control character", "impossible date", "deep nesting"],
)
def test_yaml_that_upsets_the_parser_is_still_a_recipe_error(write: Write, text: str):
    path = write(text)
    assert str(path) in str(refusal(path).where)


def test_an_alias_is_refused_because_it_can_unfold_without_end(write: Write):
    path = write("name: &n gears\nseeds:\n  - path: docs\nlicense: *n\naccept: 10\n")
    error = refusal(path)
    assert error.where == f"{path}:4"
    assert "*n" in error.message
    assert error.remedy == "write the value out"


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [(GOOD + "accept: 20\n", "accept", 5), (GOOD.replace("docs", "docs\n    path: more"), "path", 4)],
    ids=["top level", "in a seed"],
)
def test_a_key_that_stands_twice_is_refused_where_it_stands_again(write: Write, text: str, key: str, line: int):
    path = write(text)
    error = refusal(path)
    assert error.where == f"{path}:{line}"
    assert f"`{key}` stands twice" in error.message


@pytest.mark.parametrize(
    ("text", "place", "meant"),
    [
        (GOOD + "acept: 3\n", "5: acept", "accept"),
        (GOOD.replace("path: docs", "path: docs\n    chunk_token: 90"), "4: seeds[0].chunk_token", "chunk_tokens"),
        (GOOD + "dedup:\n  embeding: 0.8\n", "6: dedup.embeding", "embedding"),
        (GOOD + "agents:\n  foldr: mine\n", "6: agents.foldr", "folder"),
        (GOOD + "sm:\n  backend: embedded\n  batchsize: 4\n", "7: sm.batchsize", "batch_size"),
        (GOOD + "sm:\n  backend: transformers\n  path: m\n  devise: cpu\n", "8: sm.devise", "device"),
        (
            GOOD + "sm:\n  backend: openai\n  model: m\n  base_url: http://x\n  timeout: 5\n",
            "9: sm.timeout",
            "timeout_s",
        ),
        (GOOD + "sm:\n  backend: scripted\n  delay: 1\n", "7: sm.delay", "delay_s"),
    ],
    ids=["top", "seeds[0]", "dedup", "agents", "embedded", "transformers", "openai", "scripted"],
)
def test_an_unknown_key_names_its_line_and_the_key_that_was_meant(write: Write, text: str, place: str, meant: str):
    path = write(text)
    error = refusal(path)
    assert error.message == "unknown key"
    assert error.where == f"{path}:{place}"
    assert error.remedy == f"did you mean `{meant}`?"
    assert meant in str(error.expected).removeprefix("one of: ").split(", ")


def test_a_mistyped_required_key_is_told_as_a_typo_and_not_as_missing(write: Write):
    assert refusal(write(GOOD.replace("accept", "acccept"))).remedy == "did you mean `accept`?"


def test_an_unknown_key_like_no_other_is_to_be_removed(write: Write):
    error = refusal(write(GOOD + "zzz: 1\n"))
    assert error.remedy == "remove it"


def test_the_loader_s_own_field_is_not_a_key_of_the_recipe(write: Write):
    assert refusal(write(GOOD + "folder: elsewhere\n")).message == "unknown key"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (GOOD.replace("10", "many"), "4: accept", "valid integer"),
        (GOOD.replace("10", "0"), "4: accept", "greater than or equal to 1"),
        (GOOD.replace("gears", "2024-01-01"), "1: name", "valid string"),
        (GOOD + "dedup:\n  minhash: 1.5\n", "6: dedup.minhash", "less than or equal to 1"),
        (GOOD + "test_share: 1\n", "5: test_share", "less than 1"),
        (GOOD + "budget: 100\n", "5: budget", "Budget"),
        (GOOD + "training: 1\n", "5: training", "Training"),
        (GOOD.replace("docs", "docs\n    rows_per_seed: 99"), "4: seeds[0].rows_per_seed", "less than or equal to 50"),
        (GOOD + "training:\n  rank: 17\n", "6: training.rank", "320 or 512"),
        (GOOD + "sm:\n  backend: openai\n  base_url: localhost\n  model: m\n", "7: sm.base_url", "pattern"),
        ("name: gears\nseeds: []\naccept: 1\n", "2: seeds", "at least 1 item"),
    ],
    ids=["word", "zero", "date", "above one", "whole test", "scalar", "section", "rows", "rank", "url", "no seeds"],
)
def test_a_wrong_value_names_its_line_and_what_was_expected(write: Write, text: str, place: str, said: str):
    path = write(text)
    error = refusal(path)
    assert error.where == f"{path}:{place}"
    assert error.message.startswith("got ")
    assert said in str(error.expected)


@pytest.mark.parametrize(
    ("text", "key", "name"),
    [
        ("seeds:\n  - path: docs\naccept: 1\n", "name", "name"),
        ("name: gears\nseeds:\n  - kind: text\naccept: 1\n", "seeds[0].path", "path"),
        (GOOD + "sm:\n  backend: transformers\n", "sm.path", "path"),
    ],
    ids=["name", "seed path", "model path"],
)
def test_a_missing_key_says_what_to_add(write: Write, text: str, key: str, name: str):
    error = refusal(write(text))
    assert error.message == "missing"
    assert str(error.where).endswith(f": {key}")
    assert error.remedy == f"add `{name}:`"


def test_an_unknown_backend_lists_those_there_are(write: Write):
    path = write(GOOD + "sm:\n  backend: opnai\n")
    error = refusal(path)
    assert str(error.where).startswith(f"{path}:") and "sm" in str(error.where)
    for backend in ("embedded", "transformers", "openai", "scripted"):
        assert backend in str(error.expected)


def test_limits_that_no_answer_can_meet_are_refused(write: Write):
    error = refusal(write(GOOD + "verify:\n  min_words: 50\n  max_words: 10\n"))
    assert "verify" in str(error)


@pytest.mark.parametrize("value", [".inf", ".nan"], ids=["inf", "nan"])
def test_a_number_that_is_not_finite_is_refused(write: Write, value: str):
    # It could not be stored in the run folder: JSON has no such number.
    assert "sm.price_in" in str(refusal(write(GOOD + f"sm: {{backend: embedded, price_in: {value}}}\n")).where)


def test_paths_are_relative_to_the_recipe_and_home_is_known(write: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ada")
    path = write(GOOD)
    recipe = load_recipe(path)
    assert recipe.path("docs") == path.parent.resolve() / "docs"
    assert recipe.path("/srv/docs") == Path("/srv/docs")
    assert recipe.path("~/docs") == Path("/home/ada/docs")


def test_a_recipe_survives_being_stored_as_json(write: Write):
    recipe = load_recipe(write(GOOD + "sm: {backend: scripted, delay_s: 0.5}\n"))
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert again.plan_version == recipe.plan_version
    assert again.sm == recipe.sm
