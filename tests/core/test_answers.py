"""The section `answers`, and what its agents may see."""

from pathlib import Path

import pytest

from understudy.errors import PromptError, RecipeError
from understudy.prompt import Prompt
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

GOOD = """\
name: x
seeds: [{path: docs}]
accept: 3
answers:
  kinds: {number: 0.4, dose: 0.6}
  patterns: {dose: '\\d+ mg'}
"""


def loaded(home: Path, text: str) -> Recipe:
    (home / "recipe.yaml").write_text(text)
    return load_recipe(home / "recipe.yaml")


def test_only_who_asks_for_answers_works_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, GOOD)
    assert recipe.agents.instruct == ("question-for-answer",) and recipe.agents.transform == recipe.agents.judge == ()
    assert recipe.targets == {"number": 0.4, "dose": 0.6} and recipe.round_trip == recipe.answers
    more = loaded(tmp_path, GOOD + "agents: {judge: [clear]}\n")
    assert more.agents.judge == ("clear",) and more.agents.instruct == ("question-for-answer",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.4", "0.5", r":5: answers\.kinds: got '1\.1 in all'"),
        ("dose: 0.6", "doze: 0.6", r":5: answers\.kinds\.doze: got 'doze'(.|\n)*number or name, or a kind"),
        ("dose: '", "drug: 'x', dose: '", r":6: answers\.patterns\.drug: got 'drug'"),
        ("\\d+ mg", "(\\d+ mg", r":6: answers\.patterns\.dose: (.|\n)*a regular expression"),
        ("answers:", "answers:\n  vote: 3", r":5: answers\.vote: unknown key(.|\n)*did you mean `votes`"),
        ("answers:", "answers:\n  agree: 1", r":5: answers\.agree: got '1'(.|\n)*more than half of the 3 `votes`"),
        ("answers:", "noise: {}\nanswers:", r":4: noise: (.|\n)*nothing beside `answers`"),
        ("answers:", "inverted: {text: title}\nanswers:", r":4: inverted: (.|\n)*nothing beside `answers`"),
        (
            "answers:",
            "labels: {task: 'Which?', text: a text, values: {a: 0.5, b: 0.5}}\nanswers:",
            r": answers: (.|\n)*nothing beside `labels`",
        ),
    ],
)
def test_a_section_that_makes_no_sense_is_refused_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(RecipeError, match=said):
        loaded(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("head", "task", "said"),
    [
        ("family: instruct\nreply: Instruction\nfirst: answer\nrequest: x", "Ask for {{ answer }}.", "no `request`"),
        ("family: instruct\nreply: Instruction\nfirst: answer\nturns: 2", "Ask.\n--- next turn ---\nAgain.", "`turns`"),
        ("family: instruct\nreply: Instruction", "Ask for {{ answer }}.", r"task uses \['answer'\]"),
        ("family: instruct\nreply: Instruction\nfirst: answer", "Ask for {{ label }}.", r"task uses \['label'\]"),
        ("family: answer\nreply: Answer\nfirst: answer", "Say it.", "only an instruct agent"),
        ("family: judge\nof: answer\nreply: Label", "{{ instruction }} Not {{ answer }}?", r"task uses \['answer'\]"),
        ("family: judge\nof: answer\nreply: Label", "{{ instruction }} As {{ persona }}?", r"task uses \['persona'\]"),
    ],
)
def test_a_prompt_file_sees_of_an_answer_what_its_agent_may_see(
    tmp_path: Path, head: str, task: str, said: str
) -> None:
    (tmp_path / "mine.md").write_text(f"---\nname: mine\nsummary: Does it.\n{head}\n---\n{task}\n")
    with pytest.raises(PromptError, match=said):
        Prompt.load(tmp_path / "mine.md")
