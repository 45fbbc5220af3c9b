"""Every prompt of a seed starts with the same text, so an engine with a prefix cache reads the seed once."""

from dataclasses import replace

import pytest

from understudy.agents import WHOLE_CAST, Agent, Catalog, load_catalog
from understudy.nouns import Kind, Messages, Seed

CONTENT: dict[Kind, str] = {
    "text": "A lock lifts boats.\n\nIt needs {{ no }} pump:\n  the water\tflows downhill. ",
    "table": "| day | level |\n|---|---|\n| Monday | 1.20 |\n",
    "code": "def area(w, h):\n    return {'a': w * h}\n",
    "persona": "A baker who gets up at three.",
    "topic": "the keeping of bees",
}
VALUES = {
    "persona": "A baker.",
    "instruction": "What is dough?",
    "answer": "Flour and water.",
    "suggestion": "Say more.",
    "other": "Why?",
    "wanted": "rain with place",
    "conversation": "",
    "results": "",
    "granularity": "specific",
    "relation": "works beside this person",
    "topic": "",
    "strength": "slightly",
    "protected": "Heron Lock",
    "neighbours": "",
    "locale": "",
    "missed": "",
    "task": "Is the keeper glad?",
    "values": {"glad": "the keeper sings", "sad": ""},
}
FAMILIES = {
    "persona": {"persona", "instruct", "answer", "refine", "noise", "judge"},
    "topic": {"persona"},
}
PASSAGE = "Boats rise in a lock.\n\nNo pump is needed."
# The passage is written by a transform agent; whoever speaks before has none to read.
BEFORE_THE_PASSAGE = ("persona", "transform")


def plain(messages: Messages) -> str:
    return "".join(f"<|{message['role']}|>\n{message['content']}" for message in messages)


def prompts(catalog: Catalog, seed: Seed, passage: str | None) -> dict[str, str]:
    """Every prompt that a draft of the seed may send, by who sends it."""
    out = {}
    for agent in catalog:
        if seed.kind in agent.prompt.kinds:
            known = None if agent.prompt.family in BEFORE_THE_PASSAGE else passage
            out[agent.name] = plain(agent.messages(seed, known, **VALUES))
            if agent.prompt.editor:
                out[f"{agent.name} (editor)"] = plain(agent.messages(seed, known, editor=True, **VALUES))
    return out


def strays(catalog: Catalog, kind: Kind, passage: str | None) -> list[str]:
    """Who breaks the layout: whose prompt does not begin with system text and seed, and the passage that it reads."""
    seed = Seed.of(kind, CONTENT[kind], "a:1")
    system = next(iter(catalog)).system
    start = f"<|system|>\n{system}<|user|>\n{seed.content}"
    reading = start if passage is None else f"{start}\n\nRewritten:\n{passage}"
    out = []
    for name, text in prompts(catalog, seed, passage).items():
        wanted = start if name.startswith(BEFORE_THE_PASSAGE) else reading
        if not text.startswith(f"{wanted}\n\n") or text == f"{wanted}\n\n":
            out.append(name)
    return out


@pytest.mark.parametrize("kind", CONTENT)
@pytest.mark.parametrize("passage", [None, PASSAGE], ids=["seed as it is", "seed recast"])
def test_all_prompts_of_a_seed_begin_with_the_system_text_and_the_seed(kind: Kind, passage: str | None):
    assert strays(load_catalog(WHOLE_CAST), kind, passage) == []


@pytest.mark.parametrize("kind", CONTENT)
def test_the_prompts_compared_are_those_of_every_shipped_agent(kind: Kind):
    catalog = load_catalog(WHOLE_CAST)
    found = prompts(catalog, Seed.of(kind, CONTENT[kind], "a:1"), None)
    agents = [agent for agent in catalog if kind in agent.prompt.kinds]
    pairs = [agent for agent in agents if agent.prompt.editor is not None]
    assert len(found) == len(agents) + len(pairs)
    every = {"persona", "transform", "instruct", "answer", "refine", "noise", "judge"}
    assert {name.split("/")[0] for name in found} == FAMILIES.get(kind, every)
    assert len(set(found.values())) == len(found)


def test_every_kind_of_seed_that_an_agent_takes_is_compared():
    assert {kind for agent in load_catalog(WHOLE_CAST) for kind in agent.prompt.kinds} == set(CONTENT)


class TaskFirst(Agent):
    """An agent whose template comes before the seed."""

    def messages(self, seed: Seed, passage: str | None, *, editor: bool = False, **values: object) -> Messages:
        system, user = super().messages(seed, passage, editor=editor, **values)
        material = f"{seed.content}\n\nRewritten:\n{passage}" if passage else seed.content
        task = user["content"].removeprefix(f"{material}\n\n")
        return system, {**user, "content": f"{task}\n\n{material}"}


@pytest.mark.parametrize("passage", [None, PASSAGE], ids=["seed as it is", "seed recast"])
def test_an_agent_whose_task_comes_first_is_named(passage: str | None):
    catalog = load_catalog(WHOLE_CAST)
    for family, place in (("judge", 1), ("persona", 0), ("refine", -1)):
        agents = {name: list(group) for name, group in catalog.agents.items()}
        agent = agents[family][place]  # type: ignore[index]
        agents[family][place] = TaskFirst(agent.prompt, agent.system)  # type: ignore[index]
        broken = Catalog({name: tuple(group) for name, group in agents.items()})
        halves = [agent.name, f"{agent.name} (editor)"] if family == "refine" else [agent.name]
        assert strays(broken, agent.prompt.kinds[0], passage) == halves


def test_an_agent_with_a_system_text_of_its_own_is_named():
    catalog = load_catalog(WHOLE_CAST)
    agents = dict(catalog.agents)
    judges = list(agents["judge"])
    judges[-1] = replace(judges[-1], system=f"You are strict. {judges[-1].system}")
    agents["judge"] = tuple(judges)
    assert strays(Catalog(agents), "text", None) == [judges[-1].name]
