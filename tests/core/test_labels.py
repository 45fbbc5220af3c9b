"""The section `labels`: what is refused, and where that stands."""

from pathlib import Path
from typing import Any

import pytest

from understudy import recipe as recipe_module
from understudy.errors import PromptError, RecipeError
from understudy.prompt import Prompt
from understudy.recipe_file import load_recipe

GOOD = """name: reviews
seeds: [{path: docs}]
accept: 10
labels:
  task: Is the writer satisfied?
  text: a short review
  values: {good: 0.5, bad: 0.5}
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "recipe.yaml").write_text(text)
    return tmp_path / "recipe.yaml"


def test_a_recipe_for_labels_has_one_writer_and_nobody_who_would_change_the_label(tmp_path: Path) -> None:
    cast = load_recipe(written(tmp_path, GOOD)).agents
    assert cast.instruct == ("text-for-label",)
    assert cast.judge == cast.refine == cast.transform == cast.persona == ()
    own = load_recipe(written(tmp_path, GOOD), ("agents.judge=[clear]",)).agents
    assert own.judge == ("clear",) and own.instruct == ("text-for-label",)


def test_without_the_section_the_version_of_a_recipe_is_made_of_what_it_always_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_recipe(written(tmp_path, GOOD.partition("labels:")[0]))
    labelled = load_recipe(written(tmp_path, GOOD))
    bodies: list[dict[str, Any]] = []
    monkeypatch.setattr(recipe_module, "address", lambda said: bodies.append(said) or "hash")
    assert plain.plan_version == labelled.plan_version == "hash"
    assert "labels" not in bodies[0] and bodies[1]["labels"]["votes"] == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bad: 0.5", "bad: 0.4", r":7: labels\.values: got '0\.9 in all'(.|\n)*add up to 1"),
        ("{good: 0.5, bad: 0.5}", "{good: 1.0}", r":7: labels\.values: got 'good'(.|\n)*at least two labels"),
        ("{good: 0.5, bad: 0.5}", "{}", r":7: labels\.values: got 'no label'(.|\n)*at least two labels"),
        ("{good: 0.5, bad: 0.5}", "{good: 0.5, Good: 0.5}", r"labels\.values\.Good: got 'Good'(.|\n)*than case"),
        ("{good: 0.5, bad: 0.5}", "{good: 0.5, '***': 0.5}", r":7: labels\.values(.|\n)*pattern"),
        ("{good: 0.5, bad: 0.5}", "{good: 0.5, 'a:b': 0.5}", r":7: labels\.values(.|\n)*pattern"),
        ("{good: 0.5, bad: 0.5}", "{good: 1.5, bad: -0.5}", r":7: labels\.values\.good: got 1\.5"),
        ("{good: 0.5, bad: 0.5}", "{yes: 0.5, no: 0.5}", r":7: labels\.values(.|\n)*string"),
        ("  text: a short review\n", "", r"labels\.text: missing|labels: missing"),
        ("  text:", "  wirds: x\n  text:", r":6: labels\.wirds: unknown key"),
        ("  text:", "  leeks: [x]\n  text:", r":6: labels\.leeks: unknown key(.|\n)*did you mean `leaks`"),
        ("  text:", "  meaning: {god: he likes it}\n  text:", r":6: labels\.meaning\.god: got 'god'(.|\n)*good, bad"),
        ("  text:", "  base_rate: {good: 0.5}\n  text:", r":6: labels\.base_rate: got '0\.5 in all'"),
        ("  text:", "  base_rate: {god: 1.0}\n  text:", r":6: labels\.base_rate\.god: got 'god'"),
        ("  text:", "  agree: 1\n  text:", r":6: labels\.agree: got '1'(.|\n)*more than half of the 3 `votes`"),
        ("  text:", "  agree: 4\n  text:", r":6: labels\.agree: got '4'"),
        ("  text:", "  leaks: ['']\n  text:", r":6: labels\.leaks\[0\]"),
        ("labels:", "inverted: {text: title}\nlabels:", r":4: inverted: (.|\n)*nothing beside `labels`"),
        ("labels:", "noise: {}\nlabels:", r":4: noise: (.|\n)*nothing beside `labels`"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(RecipeError, match=said):
        load_recipe(written(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("head", "task", "said"),
    [
        ("family: instruct\nreply: Text\nfirst: label", "Write {{ text }}.", "request"),
        (
            "family: instruct\nreply: Text\nfirst: nothing",
            "Write.",
            "first",
        ),
        ("family: instruct\nreply: Text\nfirst: label\nrequest: '{{ label }}'", "Write.", r"request uses \['label'\]"),
        ("family: instruct\nreply: Text\nrequest: x", "Write for {{ label }}.", r"task uses \['label'\]"),
        ("family: answer\nreply: Answer\nfirst: label", "Write.", "only an instruct agent|says what the user"),
        ("family: judge\nof: label\nreply: Label", "Is {{ instruction }} so?", r"task uses \['instruction'\]"),
        ("family: judge\nof: label\nreply: Label", "As {{ persona }}?", r"task uses \['persona'\]"),
        ("family: judge\nreply: Label", "Which of {{ values }}?", r"task uses \['values'\]"),
    ],
)
def test_a_prompt_file_sees_of_a_label_what_its_agent_may_see(tmp_path: Path, head: str, task: str, said: str) -> None:
    (tmp_path / "mine.md").write_text(f"---\nname: mine\nsummary: Does it.\n{head}\n---\n{task}\n")
    with pytest.raises(PromptError, match=said):
        Prompt.load(tmp_path / "mine.md")
