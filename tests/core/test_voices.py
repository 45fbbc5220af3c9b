from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import RecipeError
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe
from understudy.sms import LangChainSM, OpenAISM, Voice

GOOD = "name: gears\nseeds:\n  - path: docs\naccept: 10\n"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(GOOD + text)
        return path

    return put


def refusal(path: Path, *overrides: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return caught.value


def test_one_voice_needs_no_list_around_it(write: Write):
    single = load_recipe(write("voices:\n  judge: {temperature: 0}\n"))
    listed = load_recipe(write("voices:\n  judge:\n    - temperature: 0\n"))
    assert single.voices == listed.voices == {"judge": (Voice(temperature=0),)}
    assert single.plan_version == listed.plan_version


def test_further_sms_have_names_and_the_main_one_is_called_sm(write: Write):
    recipe = load_recipe(
        write("sms:\n  strong: {backend: scripted}\nvoices:\n  judge: {sm: strong}\n  answer: [{}, {sm: strong}]\n")
    )
    assert list(recipe.engines) == ["sm", "strong"]
    assert [voice.sm for voice in recipe.voices["answer"]] == ["sm", "strong"]


@pytest.mark.parametrize(
    ("text", "place", "got", "expected"),
    [
        ("voices:\n  judge: {sm: strong}\n", "6: voices.judge.sm", "'strong'", "one of: sm"),
        (
            "sms:\n  strong: {backend: scripted}\nvoices:\n  answer: {}\n  judge:\n    - sm: strong\n    - sm: storng\n",
            "11: voices.judge[1].sm",
            "'storng'",
            "one of: sm, strong",
        ),
        ("voices:\n  judge: {}\n  juge: {temperature: 0}\n", "7: voices.juge", "'juge'", "persona, transform"),
        ("voices:\n  juge/clear: {temperature: 0}\n", "6: voices.juge/clear", "'juge/clear'", "family/agent"),
        ("sms:\n  strong: {backend: scripted}\n  sm: {backend: scripted}\n", "7: sms.sm", "'sm'", "another name"),
        ("sms:\n  Strong: {backend: scripted}\n", "6: sms.Strong", "'Strong'", "pattern"),
        ("voices:\n  judge: {temperature: 3}\n", "6: voices.judge.temperature", "3", "less than or equal to 2"),
        ("voices:\n  judge:\n    - {}\n    - top_p: 0\n", "8: voices.judge[1].top_p", "0", "greater than 0"),
        ("voices:\n  judge: []\n", "6: voices.judge", "[]", "at least 1 item"),
        ("sms:\n  strong: {backend: strng}\n", "6: sms.strong", "strng", "'langchain', 'scripted'"),
        ("sm: {backend: langchain, model: claude}\n", "5: sm.model", "'claude'", "pattern"),
        ("sm:\n  backend: vllm\n  path: x\n  memory: 1.5\n", "8: sm.memory", "1.5", "less than or equal to 1"),
        ("in_flight: 0\n", "5: in_flight", "0", "greater than or equal to 1"),
    ],
    ids=[
        "unknown SM", "unknown SM in a list", "unknown family", "unknown family of an agent", "an SM named sm",
        "name in capitals", "too hot", "in a list", "no voice", "unknown backend", "no provider", "vllm", "in_flight",
    ],
)  # fmt: skip
def test_what_is_wrong_with_sms_and_voices_is_told_where_it_stands(
    write: Write, text: str, place: str, got: str, expected: str
):
    path = write(text)
    error = refusal(path)
    assert error.where == f"{path}:{place}"
    assert error.message.startswith("got ") and got in error.message
    assert "seeds" not in error.message
    assert expected in str(error.expected)


@pytest.mark.parametrize(
    ("text", "place", "meant"),
    [
        ("sms:\n  strong:\n    backend: scripted\n    dely_s: 1\n", "8: sms.strong.dely_s", "delay_s"),
        ("sms:\n  openai:\n    backend: scripted\n    dely_s: 1\n", "8: sms.openai.dely_s", "delay_s"),
        ("voices:\n  judge: {temprature: 0}\n", "6: voices.judge.temprature", "temperature"),
        ("voices:\n  judge:\n    - {}\n    - temprature: 0\n", "8: voices.judge[1].temprature", "temperature"),
        ("sm:\n  backend: vllm\n  path: m\n  memry: 1\n", "8: sm.memry", "memory"),
        ("sm:\n  backend: vllm-server\n  path: m\n  replica: 1\n", "8: sm.replica", "replicas"),
        ("sm:\n  backend: langchain\n  model: a:b\n  option: {}\n", "8: sm.option", "options"),
        (
            "sm:\n  backend: openai\n  model: m\n  endpoints:\n    - base_url: http://x\n      wieght: 2\n",
            "10: sm.endpoints[0].wieght",
            "weight",
        ),
    ],
    ids=["sms", "sms by a backend's name", "one voice", "voices", "vllm", "vllm-server", "langchain", "endpoints"],
)
def test_an_unknown_key_names_its_line_and_the_key_that_was_meant(write: Write, text: str, place: str, meant: str):
    path = write(text)
    error = refusal(path)
    assert (error.message, error.where) == ("unknown key", f"{path}:{place}")
    assert error.remedy == f"did you mean `{meant}`?"


def test_a_voice_given_on_the_command_line_is_told_as_such(write: Write):
    error = refusal(write(""), "voices.judge={sm: strong}")
    assert error.where == "--set voices.judge={sm: strong}"


ONE, SEVERAL = "base_url: http://x/v1\n", "endpoints: [{base_url: http://x/v1}, {base_url: http://y/v1, weight: 2}]\n"


@pytest.mark.parametrize("text", ["", f"  {ONE}  {SEVERAL}", "  endpoints: []\n"], ids=["neither", "both", "empty"])
def test_an_endpoint_has_one_address_or_a_list_and_not_both(write: Write, text: str):
    path = write(f"sm:\n  backend: openai\n  model: m\n{text}")
    error = refusal(path)
    assert error.where == f"{path}:5: sm"
    assert "`base_url`, or a list of `endpoints`" in str(error.expected)


def test_one_address_is_a_list_of_one_endpoint():
    one = OpenAISM(backend="openai", model="m", base_url="http://x/v1", api_key_env="K", max_concurrency=7)
    (served,) = one.served
    assert (served.base_url, served.api_key_env, served.max_concurrency, served.weight) == ("http://x/v1", "K", 7, 1)


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({"name": "x", "seeds": [{"path": "a"}], "accept": 1} | changes)


ENDPOINT = {"backend": "openai", "model": "m", "base_url": "http://x/v1"}
SERVER = {"backend": "vllm-server", "path": "m"}
STRONG: dict[str, Any] = {"sms": {"strong": ENDPOINT}, "voices": {"judge": {"sm": "strong"}}}


@pytest.mark.parametrize(
    "changes",
    [
        {"sms": {"strong": ENDPOINT | {"model": "other"}}},
        {"sms": {"strong": ENDPOINT | {"structured": False}}},
        {"voices": {}},
        {"voices": {"judge": {}}},
        {"voices": {"judge": {"sm": "strong", "temperature": 0.5}}},
        {"voices": {"judge": [{"sm": "strong"}, {"sm": "strong"}]}},
        {"voices": {"judge/clear": {"sm": "strong"}}},
    ],
    ids=["model", "structured", "no voices", "another SM", "sampling", "a list of two", "one agent"],
)
def test_what_speaks_and_how_is_part_of_the_plan(changes: dict[str, Any]):
    assert recipe(**STRONG | changes).plan_version != recipe(**STRONG).plan_version


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "http://other/v1"},
        {"base_url": None, "endpoints": [{"base_url": "http://x/v1", "weight": 3}, {"base_url": "http://y/v1"}]},
        {"max_concurrency": 3},
        {"api_key_env": "KEY"},
        {"timeout_s": 1},
        {"retries": 9},
        {"patience_s": 1},
        {"price_in": 4, "price_out": 5},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_where_an_endpoint_is_and_what_it_costs_is_no_part_of_the_plan(changes: dict[str, Any]):
    assert recipe(**STRONG | {"sms": {"strong": ENDPOINT | changes}}).plan_version == recipe(**STRONG).plan_version
    assert recipe(sm=ENDPOINT | changes).plan_version == recipe(sm=ENDPOINT).plan_version


@pytest.mark.parametrize(
    "changes",
    [
        {"memory": 0.5},
        {"replicas": 4},
        {"tensor_parallel": 2},
        {"max_concurrency": 8},
        {"prefix_cache": False},
        {"block_tokens": 32},
        {"compile": True},
        {"start_s": 5},
        {"timeout_s": 5},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_how_fast_a_server_of_ours_is_is_no_part_of_the_plan(changes: dict[str, Any]):
    assert recipe(sm=SERVER | changes).plan_version == recipe(sm=SERVER).plan_version


@pytest.mark.parametrize(
    "changes", [{"path": "n"}, {"adapters": {"a": "b"}}, {"dtype": "float32"}, {"context_tokens": 512}]
)
def test_what_a_server_of_ours_loads_is_part_of_the_plan(changes: dict[str, Any]):
    assert recipe(sm=SERVER | changes).plan_version != recipe(sm=SERVER).plan_version


def test_a_recipe_with_voices_survives_being_stored_as_json():
    first = recipe(**STRONG, in_flight=None)
    again = Recipe.model_validate_json(first.model_dump_json())
    assert again == first and again.plan_version == first.plan_version


def test_options_of_a_langchain_model_are_plain_values():
    made = LangChainSM.model_validate({"backend": "langchain", "model": "openai:m", "options": {"n": 1, "x": None}})
    assert made.options == {"n": 1, "x": None}
    with pytest.raises(ValueError, match="options"):
        LangChainSM.model_validate({"backend": "langchain", "model": "openai:m", "options": {"x": [1]}})
