import re
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import PromptError
from understudy.prompt import Prompt, Sampling

HEAD = "name: ask\nfamily: instruct\nsummary: Asks.\nreply: Instruction\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(head: str = HEAD, task: str = "Ask one question.") -> Path:
        path = tmp_path / "ask.md"
        path.write_text(f"---\n{head}---\n{task}\n", encoding="utf-8")
        return path

    return put


def refusal(path: Path) -> PromptError:
    with pytest.raises(PromptError) as caught:
        Prompt.load(path)
    assert str(path) in str(caught.value.where)
    return caught.value


def test_a_prompt_file_of_four_keys_is_enough(write: Write):
    prompt = Prompt.load(write())
    assert (prompt.name, prompt.family, prompt.task, prompt.editor) == ("ask", "instruct", "Ask one question.", None)
    assert prompt.kinds == ("text", "table", "code")
    assert prompt.sampling == Sampling()


def test_the_system_text_and_the_seed_come_before_the_task(write: Write):
    system, user = Prompt.load(write(task="Ask as {{ persona }}.")).render("Be true.", "SEED", {"persona": "a cook"})
    assert system == {"role": "system", "content": "Be true."}
    assert user == {"role": "user", "content": "SEED\n\nAsk as a cook."}


@pytest.mark.parametrize(
    "material",
    ["{{ 7*7 }}", "{% for x in [1] %}a{% endfor %}", "{# note #}", "{{ ''.__class__ }}", "{% raw"],
    ids=["expression", "loop", "comment", "escape", "unclosed"],
)
def test_seed_text_that_looks_like_a_template_stays_as_it_is(write: Write, material: str):
    prompt = Prompt.load(write(task="Ask as {{ persona }}."))
    user = prompt.render("S", material, {"persona": material})[1]["content"]
    assert user == f"{material}\n\nAsk as {material}."


@pytest.mark.parametrize(
    "task",
    [
        "{{ ''.__class__ }}",
        "{{ persona.__class__.__mro__ }}",
        "{{ (persona | attr('__class__')) }}",
        "{{ 1 // 0 }}",
        "{{ persona + 1 }}",
        "{% include 'other' %}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
    ids=["class", "mro", "attr", "division", "type", "include", "range"],
)
def test_a_task_that_does_not_render_is_a_prompt_error_naming_the_file(write: Write, task: str):
    path = write(task=task)
    with pytest.raises(PromptError) as caught:
        Prompt.load(path).render("S", "seed", {"persona": "a cook", "kind": "text"})
    assert str(path) in str(caught.value.where)


def test_a_value_that_is_missing_at_render_time_is_a_prompt_error(write: Write):
    prompt = Prompt.load(write(task="Ask as {{ persona }}."))
    with pytest.raises(PromptError, match="persona"):
        prompt.render("S", "seed", {})


def test_a_name_outside_the_closed_set_is_refused_and_those_that_exist_are_listed(write: Write):
    error = refusal(write(task="Ask about {{ answer }} and {{ secrets }}."))
    assert error.message == "task uses ['answer', 'secrets']"
    assert "only ['kind', 'persona', 'wanted'] exist when a instruct agent speaks" in str(error.expected)


@pytest.mark.parametrize("task", ["{% if persona %}no end", "{{ persona"], ids=["if", "braces"])
def test_a_broken_template_is_refused(write: Write, task: str):
    assert refusal(write(task=task)).message.startswith("task: ")


@pytest.mark.parametrize("text", ["Ask one question.\n", "---\nname: ask\n", ""], ids=["none", "not closed", "empty"])
def test_a_file_without_front_matter_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "ask.md"
    path.write_text(text)
    error = refusal(path)
    assert error.message == "no front matter"
    assert error.where == f"{path}:1"


def test_a_byte_order_mark_does_not_hide_the_front_matter(tmp_path: Path):
    path = tmp_path / "ask.md"
    path.write_bytes(b"\xef\xbb\xbf" + f"---\n{HEAD}---\nAsk.\n".encode())
    assert Prompt.load(path).name == "ask"


def test_a_missing_prompt_file_is_refused(tmp_path: Path):
    assert refusal(tmp_path / "none.md").message.startswith("cannot read the prompt file")


def test_a_prompt_file_that_is_not_utf8_is_refused(tmp_path: Path):
    (tmp_path / "ask.md").write_bytes(b"---\nname: caf\xe9\n---\n")
    assert refusal(tmp_path / "ask.md").message.startswith("cannot read the prompt file")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("name: [ask\n", "not YAML"),
        ("- name\n- family\n", "mapping"),
        (HEAD + "made: 2024-13-45\n", "month"),
    ],
    ids=["not YAML", "a list", "impossible date"],
)
def test_front_matter_that_is_no_mapping_is_refused(write: Write, head: str, said: str):
    assert said in refusal(write(head)).message


@pytest.mark.parametrize(
    ("head", "field"),
    [
        (HEAD + "colour: red\n", "colour"),
        (HEAD.replace("name: ask", "name: Ask Me"), "name"),
        (HEAD.replace("instruct", "instructor"), "family"),
        (HEAD.replace("reply: Instruction\n", ""), "reply"),
        (HEAD + "kinds: [text, audio]\n", "kinds.1"),
        (HEAD + "sampling: {temperature: 9}\n", "sampling.temperature"),
        (HEAD + "sampling: {heat: 1}\n", "sampling.heat"),
    ],
    ids=["unknown key", "name", "family", "missing", "kind", "range", "unknown sampling key"],
)
def test_a_wrong_field_is_named_with_the_file(write: Write, head: str, field: str):
    path = write(head)
    assert refusal(path).where == f"{path}: {field}"


@pytest.mark.parametrize(
    ("head", "task"),
    [
        (HEAD.replace("instruct", "refine") + "edits: answer\n", "Suggest."),
        (HEAD.replace("instruct", "refine"), "Suggest.\n--- editor ---\nEdit."),
        (HEAD, "Ask.\n--- editor ---\nEdit."),
        (HEAD + "edits: answer\n", "Ask."),
    ],
    ids=["no editor", "edits nothing", "editor elsewhere", "edits elsewhere"],
)
def test_a_refine_pair_and_only_a_refine_pair_has_an_editor(write: Write, head: str, task: str):
    assert re.search(r"only a refine (pair|agent)", refusal(write(head, task)).message)


def test_only_the_editor_knows_the_suggestion(write: Write):
    head = HEAD.replace("instruct", "refine") + "edits: answer\n"
    prompt = Prompt.load(write(head, "Improve {{ answer }}.\n--- editor ---\nDo {{ suggestion }}."))
    assert prompt.render("S", "m", {"answer": "A"})[1]["content"] == "m\n\nImprove A."
    assert prompt.render("S", "m", {"suggestion": "B"}, editor=True)[1]["content"] == "m\n\nDo B."
    assert "task uses ['suggestion']" in refusal(write(head, "{{ suggestion }}\n--- editor ---\nEdit.")).message


def test_the_version_follows_what_changes_a_reply_and_nothing_else(write: Write):
    version = Prompt.load(write()).version
    assert Prompt.load(write(HEAD.replace("Asks.", "Asks once."))).version == version
    assert Prompt.load(write(HEAD + "source: a paper\n")).version == version
    assert Prompt.load(write(task="Ask two questions.")).version != version
    assert Prompt.load(write(HEAD + "sampling: {temperature: 0.1}\n")).version != version
    assert Prompt.load(write(HEAD + "attach: true\n")).version != version


def test_a_pattern_that_is_no_regular_expression_is_refused(write: Write):
    path = write(HEAD + "pattern: 'Why ('\n")
    assert refusal(path).where == f"{path}: pattern"


PERSONA = "name: ask\nfamily: persona\nsummary: Who.\nreply: PersonaText\n"
THREE = "pattern: {broad: 'A .*', specific: 'A .* who .*', detailed: 'A .* who .*, because .*'}\n"


def test_a_persona_agent_may_have_a_form_for_each_granularity(write: Write):
    prompt = Prompt.load(write(PERSONA + THREE, "Who? {{ granularity }}"))
    assert (prompt.form("broad"), prompt.form()) == ("A .*", "A .* who .*")
    assert Prompt.load(write(PERSONA + "pattern: 'A .*'\n")).form("detailed") == "A .*"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (HEAD + THREE, "patterns by granularity"),
        (PERSONA + "pattern: {broad: 'A .*', specific: 'A'}\n", "one each for broad, specific, detailed"),
        (PERSONA + "pattern: {broad: 'A .*', specific: 'A', detailed: '('}\n", "not a regular expression"),
        (PERSONA + "pattern: {broad: 'A', wide: 'B'}\n", "pattern"),
        (PERSONA + "request: Do it.\n", "only an instruct agent"),
        (PERSONA + "examples: [{text: One.}]\n", "only an instruct agent"),
        (HEAD + "examples: [{persona: A cook.}]\n", "examples.0.text"),
        (HEAD + "request: 'About {{ instruction }}'\n", "request uses ['instruction']"),
        (HEAD + "request: 'About {{ persona'\n", "request"),
    ],
)
def test_forms_requests_and_examples_are_checked(write: Write, head: str, said: str):
    assert said in str(refusal(write(head)))


def test_what_a_file_does_not_use_is_no_part_of_its_version(write: Write):
    plain = Prompt.load(write()).version
    assert plain == "28d7e15ca6f7d6c6bb8397fa719d77c7"  # as before there were such keys
    for more in ('marker: "Q:"\n', "request: Ask.\n", "examples: [{text: One.}]\n"):
        assert Prompt.load(write(HEAD + more)).version != plain
