"""What the documentation says is so: generated pages, links, commands, recipes, example files."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

from understudy.agents import WHOLE_CAST, load_catalog
from understudy.cli import app
from understudy.evals.task_file import load_task
from understudy.personas import load_set
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECIPE = {"name": "small", "seeds": [{"path": "docs"}], "accept": 1}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Fenced blocks of one language, as (page:line, text)."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for fence in _FENCE.finditer(text):
            if fence[1] == language:
                line = text.count("\n", 0, fence.start()) + 2
                yield f"{page.relative_to(ROOT)}:{line}", fence[2]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `understudy …` line of the bash blocks, as (page:line, words after the command)."""
    for place, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "understudy":
                yield place, words[1:]


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings make: lower case, without signs, spaces as hyphens."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_what_the_code_says(generate: ModuleType) -> None:
    assert generate.stale() == [], "run `make docs`"


def test_a_page_that_differs_is_named(generate: ModuleType, tmp_path: Path) -> None:
    assert set(generate.stale(tmp_path)) == set(generate.pages())


def test_the_readme_lists_every_exit_code(generate: ModuleType) -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(generate.exit_codes())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not fragment or fragment in anchors(there), target


@pytest.mark.parametrize(("place", "words"), [*commands()], ids=lambda value: value if isinstance(value, str) else None)
def test_every_command_parses(place: str, words: list[str]) -> None:
    group = typer.main.get_command(app)
    verb, *rest = words
    command = group.commands[verb]  # type: ignore[attr-defined]
    command.make_context(verb, rest, parent=group.make_context("understudy", [verb]))


def test_the_docs_hold_commands_for_every_verb() -> None:
    group = typer.main.get_command(app)
    assert {words[0] for _, words in commands()} == set(group.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("place", "text"), [*blocks("yaml")], ids=lambda value: value if ".md:" in value else None)
def test_every_recipe_and_persona_set_loads(place: str, text: str, tmp_path: Path) -> None:
    written = yaml.safe_load(text)
    file = tmp_path / "block.yaml"
    if isinstance(written.get("personas"), list):
        file.write_text(text, encoding="utf-8")
        assert load_set(str(file)).personas
    elif "measure" in written:
        file.write_text(text, encoding="utf-8")
        assert load_task(file).measure
    elif "seeds" in written:
        file.write_text(text, encoding="utf-8")
        assert load_recipe(file).seeds
    else:
        # A few keys of a recipe: they hold within a small one.
        assert written.keys() <= Recipe.model_fields.keys()
        file.write_text(yaml.safe_dump(RECIPE | written), encoding="utf-8")
        load_recipe(file)


def test_the_example_agent_joins_the_cast(tmp_path: Path) -> None:
    examples = [text for _, text in blocks("markdown")]
    assert examples
    for text in examples:
        head = yaml.safe_load(text.split("---\n")[1])
        file = tmp_path / head["family"] / f"{head['name']}.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        assert head["name"] in {
            agent.prompt.name for agent in load_catalog(WHOLE_CAST, tmp_path).agents[head["family"]]
        }
