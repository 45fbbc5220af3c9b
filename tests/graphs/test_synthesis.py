"""What is made of people alone: six tasks in three shapes, each reply with its marker."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from understudy.agents import REPLIES, Agent, load_catalog
from understudy.corpus import RunFolder
from understudy.errors import PromptError
from understudy.graphs import Outcome, generate
from understudy.models import Scripted
from understudy.models.improvise import improvise
from understudy.models.sm import Constraint, Reply, Request
from understudy.nouns import Persona, Seed
from understudy.personas import PersonaSet, save_set
from understudy.prompt import Prompt, Shape
from understudy.recipe_file import load_recipe

TASKS = ("ask-assistant", "game-character", "knowledge-article", "logic-puzzle", "math-problem", "tool-interface")
WRITTEN = ("game-character", "knowledge-article", "tool-interface")
SHAPES: tuple[Shape, ...] = ("zero-shot", "few-shot", "persona-few-shot")
PEOPLE = tuple(
    Persona.of(text) for text in ("A night baker who reckons in trays.", "A ferry clerk who knows the tides.")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_set(PersonaSet("two", "", "CC0-1.0", PEOPLE), tmp_path / "two.yaml")
    (tmp_path / "recipe.yaml").write_text(
        "name: people\nseeds: [{path: two.yaml, kind: persona}]\naccept: 12\ndraws_per_seed: 40\n"
        "sm: {backend: scripted}\npersonas: {set: null}\ndedup: {embedding: null, minhash: null}\nin_flight: 4\n"
    )
    return tmp_path


def agents() -> dict[str, Agent]:
    return {agent.prompt.name: agent for agent in load_catalog().of("instruct", "persona")}


def rendered(name: str, shape: Shape) -> str:
    persona = PEOPLE[0].text
    messages = agents()[name].messages(Seed.of("persona", persona, "two:1"), None, persona=persona, shape=shape)
    return messages[1]["content"]


def test_there_is_an_agent_for_each_task():
    assert tuple(sorted(agents())) == TASKS


@pytest.mark.parametrize("name", TASKS)
def test_the_three_shapes_are_three_prompts(name: str):
    zero, few, own = (rendered(name, shape) for shape in SHAPES)
    assert len({zero, few, own}) == 3
    examples = agents()[name].prompt.examples
    assert len(examples) >= 2
    for one in examples:
        assert one.text in few and one.text in own and one.text not in zero
        assert one.persona and f"The person: {one.persona}\n" in own and one.persona not in few
    # Each example stands right after its own person.
    places = [(own.index(one.persona or ""), own.index(one.text)) for one in examples]
    assert [place for pair in places for place in pair] == sorted(place for pair in places for place in pair)
    assert all(PEOPLE[0].text in text for text in (zero, few, own))


@pytest.mark.parametrize("name", TASKS)
def test_what_is_shown_is_what_is_wanted(name: str):
    prompt = agents()[name].prompt
    for one in prompt.examples:
        assert re.fullmatch(prompt.form() or r"[\s\S]+", one.text), one.text
        value = REPLIES[prompt.reply].read(one.text, False)
        assert value == one.text if isinstance(value, str) else json.loads(one.text) == value.model_dump()


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_all_people_share_the_beginning_of_a_prompt_with_examples(shape: Shape):
    agent = agents()["math-problem"]
    texts = [agent.messages(Seed.of("persona", one.text, "t"), None, persona=one.text, shape=shape) for one in PEOPLE]
    one, other = (messages[1]["content"] for messages in texts)
    assert one.split(PEOPLE[0].text)[0] == other.split(PEOPLE[1].text)[0] != ""


def test_an_example_without_a_person_cannot_be_shown_with_one(tmp_path: Path):
    path = tmp_path / "poem.md"
    path.write_text(
        "---\nname: poem\nfamily: instruct\nsummary: A poem.\nkinds: [persona]\nreply: Passage\n"
        "examples: [{text: Roses.}]\n---\nWrite a poem.\n"
    )
    prompt = Prompt.load(path)
    assert "Roses." in prompt.shown("few-shot")
    with pytest.raises(PromptError, match=r"poem.md: examples.1: no persona"):
        prompt.shown("persona-few-shot")
    path.write_text(path.read_text().replace("examples: [{text: Roses.}]\n", ""))
    with pytest.raises(PromptError, match=r"examples: has no examples"):
        Prompt.load(path).shown("few-shot")


class Spoken(Scripted):
    """Says what `say` makes of the reply that would have been improvised."""

    say: Any

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        self._asked.append(request.messages)
        text = improvise(request.messages, request.seed, request.constraint)
        return (Reply(self.say(text, request.constraint), 50, 10, False),)


async def run(folder: Path, *sets: str, say: Any = lambda text, constraint: text) -> Outcome:
    recipe = load_recipe(folder / "recipe.yaml", ("agents.judge=[]", *sets))
    return await generate(recipe, folder / "out", sm=Spoken(say=say))


async def test_a_run_over_people_makes_all_six(folder: Path):
    outcome = await run(folder, "accept=60")
    assert outcome.ended == "goal" and set(outcome.books.by_kind) == {"persona"}
    with RunFolder.read(folder / "out") as corpus:
        made = list(corpus.examples())
    assert {step.split("/")[1] for one in made for step in one.path if step.startswith("instruct/")} == set(TASKS)
    for one in made:
        assert one.persona in PEOPLE
        task = next(step for step in one.path if step.startswith("instruct/")).split("/")[1]
        user, assistant = one.payload["messages"]
        # What is written for a person at once is not answered; what a person asks is.
        assert any(step.startswith("answer/") for step in one.path) == (task not in WRITTEN)
        assert (one.persona.text in user["content"]) == (task in WRITTEN)
        if task == "tool-interface":
            tool = json.loads(assistant["content"])
            assert set(tool) == {"name", "description", "arguments", "returns", "example"}


@pytest.mark.parametrize("name", [name for name in TASKS if name != "tool-interface"])
async def test_a_reply_without_its_marker_is_asked_for_again_and_then_fails(folder: Path, name: str):
    marker = agents()[name].prompt.marker
    assert marker

    def unmarked(text: str, constraint: Constraint | None) -> str:
        return text.removeprefix(marker).strip()

    outcome = await run(folder, f"agents.instruct=[{name}]", "draws_per_seed=2", say=unmarked)
    assert outcome.books.reasons == {f"failed: parse: instruct/{name}": 4}
    assert outcome.calls_made == 8


async def test_the_marker_is_no_part_of_what_is_kept(folder: Path):
    await run(folder, "agents.instruct=[math-problem]")
    with RunFolder.read(folder / "out") as corpus:
        assert not any("Math problem:" in one.payload["messages"][0]["content"] for one in corpus.examples())


async def test_twins_among_what_is_written_at_once_meet_at_the_gate(folder: Path):
    def same(text: str, constraint: Constraint | None) -> str:
        return "Name: Odo\nOdo keeps the harbour gate and lets in whoever can name the tide of the day."

    outcome = await run(folder, "agents.instruct=[game-character]", "dedup.minhash=0.9", "draws_per_seed=3", say=same)
    assert outcome.books.drafts["accepted"] == 1
    assert outcome.books.reasons == {"duplicate: same words": 5}


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_recipe_says_which_shape(folder: Path, shape: Shape):
    recipe = load_recipe(
        folder / "recipe.yaml", (f"personas.shape={shape}", "accept=2", "agents.instruct=[logic-puzzle]")
    )
    sm = Spoken(say=lambda text, constraint: text)
    await generate(recipe, folder / "out", sm=sm)
    asked = [messages[1]["content"] for messages in sm.asked if "Write one logic puzzle" in messages[1]["content"]]
    assert all(("Examples of what is wanted" in text) == (shape != "zero-shot") for text in asked) and asked
    assert all(("The person: " in text) == (shape == "persona-few-shot") for text in asked)


async def test_who_has_no_examples_is_named_before_the_first_call(folder: Path):
    (folder / "cast" / "instruct").mkdir(parents=True)
    (folder / "cast" / "instruct" / "poem.md").write_text(
        "---\nname: poem\nfamily: instruct\nsummary: A poem.\nkinds: [persona]\nreply: Passage\n---\nWrite a poem.\n"
    )
    sets = ("agents.folder=cast", "personas.shape=few-shot")
    sm = Spoken(say=lambda text, constraint: text)
    with pytest.raises(PromptError, match=r"poem.md: examples: has no examples"):
        await generate(load_recipe(folder / "recipe.yaml", sets), folder / "out", sm=sm)
    assert not sm.asked


async def test_a_shape_is_for_people_alone(project: Path):
    outcome = await generate(load_recipe(project / "recipe.yaml", ("personas.shape=few-shot",)), project / "out")
    assert outcome.ended == "goal"
