"""Persona sets as runs: inferred, related, filled; every line of the definition that needs no real model."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.corpus import RunFolder
from understudy.errors import EngineRefused, PersonaError
from understudy.graphs import Outcome, generate, people
from understudy.models import Scripted
from understudy.models.embedder import Matrix
from understudy.models.improvise import improvise
from understudy.models.sm import Constraint, Reply, Request
from understudy.nouns import Persona, Seed
from understudy.personas import PersonaSet, load_set
from understudy.personas.coverage import Topic
from understudy.recipe import Recipe, Source
from understudy.recipe_file import load_recipe


class Telling(Scripted):
    """Answers with what `tell` makes of the task; improvises where that is None. Counts what it was asked."""

    tell: Any
    requests: Any = None

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        if self.requests is not None:
            self.requests[request.messages[-1]["content"]] += 1
        said = self.tell(request.messages[-1]["content"], request.constraint)
        return (Reply(said or improvise(request.messages, request.seed, request.constraint), 50, 10, False),)


def recipe(project: Path, *sets: str) -> Recipe:
    return load_recipe(project / "recipe.yaml", ("dedup.embedding=null", *sets))


def crew(number: int = 10) -> PersonaSet:
    members = tuple(Persona.of(f"Founder number{n} of the house.") for n in range(number))
    return PersonaSet("crew", "", "CC0-1.0", members)


async def related(project: Path, out: str, tell: Any, base: PersonaSet, requests: Any = None, **how: Any) -> Outcome:
    made, work = people.relate(recipe(project, "verify.min_grounding=null"), base, **how)
    return await generate(made, project / out, sm=Telling(tell=tell, requests=requests), work=work)


def naming() -> Any:
    """Each relative is somebody new: a name made of the parent's and the relation's."""
    seen: dict[tuple[str, str], int] = {}

    def tell(content: str, constraint: Constraint | None) -> str:
        person, task = content.split("\n\n")
        number = seen.setdefault((person, task), len(seen))
        return f"Another person wants to be a{number} b{number} c{number} d{number}. This person works as a clerk."

    return tell


async def test_ten_people_with_two_relatives_over_six_hops(project: Path) -> None:
    relations = project / "relations.yaml"
    relations.write_text("colleague: works here\npatient: is ill\n")
    outcome = await related(project, "kin", naming(), crew(), hops=6, relatives=2, relations=relations)
    full = load_set(str(project / "kin"))
    by_id = {persona.id: persona for persona in full.personas}
    hops = Counter(persona.hop for persona in full.personas)
    assert hops == {0: 10, 1: 20, 2: 40, 3: 80, 4: 160, 5: 320, 6: 640}
    assert outcome.books.drafts == {"accepted": 1260, "rejected": 0, "duplicate": 0, "failed": 0}
    for persona in full.personas:
        if persona.hop:
            parent = by_id[persona.parent or ""]
            assert (persona.origin, parent.hop) == ("relation", persona.hop - 1)
    # Both relatives of each are there, one for each type of relation.
    children = Counter((persona.parent, persona.relation) for persona in full.personas if persona.hop)
    assert set(children.values()) == {1} and len(children) == 1260
    assert outcome.calls_made == 1260  # the ancestors' calls are in the journal


def circling(content: str, constraint: Constraint | None) -> str:
    """The relative of a relative is the person again."""
    person = content.split("\n\n")[0]
    other = "bake" if "paint" in person else "paint"
    return f"Another person wants to {other} the whole long day. This person works as a{' baker' if other == 'bake' else 'n artist'}."


async def test_a_circle_is_cut_where_it_closes(project: Path) -> None:
    baker = Persona.of("Another person wants to bake the whole long day. This person works as a baker.")
    outcome = await related(project, "kin", circling, replace(crew(), personas=(baker,)), hops=4, relatives=1)
    full = load_set(str(project / "kin"))
    assert [persona.hop for persona in full.personas] == [0, 1]
    with RunFolder.read(project / "kin") as folder:
        (twin,) = folder.examples("duplicate")
        cut = list(folder.examples("rejected"))
    assert twin.parents == (baker.id,) and twin.persona and twin.persona.hop == 2
    assert [one.reason for one in cut] == ["nobody to be related to"] * 2
    assert all(not one.calls for one in cut)  # nothing was paid for those
    assert outcome.calls_made == 2


async def test_nobody_is_more_than_six_hops_away(project: Path) -> None:
    far = PersonaSet("far", "", "CC0-1.0", (Persona.of("A distant cousin.", "relation", hop=5),))
    await related(project, "kin", naming(), far, hops=2, relatives=1)
    full = load_set(str(project / "kin"))
    assert [persona.hop for persona in full.personas] == [5, 6]
    with RunFolder.read(project / "kin") as folder:
        assert [one.reason for one in folder.examples("rejected")] == ["more than 6 hops away"]


async def test_relatives_do_not_depend_on_how_many_are_looked_for_at_once_nor_on_a_stop(project: Path) -> None:
    await related(project, "whole", naming_by_text, crew(4), hops=3, relatives=2)
    base = recipe(project, "verify.min_grounding=null", "in_flight=1", "budget.tokens=3000")
    made, work = people.relate(base, crew(4), hops=3, relatives=2)
    stopped = await generate(made, project / "part", sm=Telling(tell=naming_by_text), work=work)
    assert stopped.ended == "budget" and 0 < stopped.books.drafts["accepted"] < 56
    await related(project, "part", naming_by_text, crew(4), hops=3, relatives=2)
    assert load_set(str(project / "whole")).version == load_set(str(project / "part")).version
    with RunFolder.read(project / "whole") as one, RunFolder.read(project / "part") as other:
        assert one.digest == other.digest


def naming_by_text(content: str, constraint: Constraint | None) -> str:
    """A relative that depends on the request alone."""
    words = [f"w{abs(hash_of(content, place)) % 10_000}" for place in range(6)]
    return f"Another person wants to know {' '.join(words)}. This person works as a clerk."


def hash_of(content: str, place: int) -> int:
    import zlib

    return zlib.crc32(f"{content}{place}".encode())


def test_too_many_relatives_are_refused_before_anything_runs(project: Path) -> None:
    with pytest.raises(PersonaError, match="3 relatives over 6 hops are 1,092 people for each"):
        people.relate(recipe(project), crew(), hops=6, relatives=3)


async def inferring(project: Path, out: str, *sets: str, tell: Any = None, **how: Any) -> Outcome:
    made, work = people.build(recipe(project, *sets), name=out, **how)
    return await generate(made, project / out, sm=Telling(tell=tell or (lambda *_: None)), work=work)


async def test_people_are_inferred_from_seeds_and_know_which(project: Path) -> None:
    outcome = await inferring(project, "set", "accept=12", "verify.min_grounding=null", domain="bread")
    full = load_set(str(project / "set"))
    assert (outcome.ended, len(full.personas), full.domain, full.sm) == ("goal", 12, "bread", "scripted")
    with RunFolder.read(project / "set") as folder:
        seeds = {seed.id for seed, _ in folder.seeds.some(0, len(folder.seeds))}
        assert [one.persona for one in folder.examples()] == list(full.personas)
        assert {path for one in folder.examples() for path in one.path} >= {"persona/would-read"}
    assert {persona.source for persona in full.personas} <= seeds
    assert {persona.origin for persona in full.personas} == {"text"}


def fresh() -> Any:
    """Somebody new at each request."""
    number = iter(range(1000))

    def tell(content: str, constraint: Constraint | None) -> str | None:
        if constraint is None or constraint.kind != "regex":
            return None
        lead = constraint.value.split("(")[0].split("[")[0]
        return f"{lead}how to do the thing called {'xyz'[next(number) % 3] * next(number)} well. This person works as a cook."

    return tell


async def test_each_draw_of_a_seed_asks_another_agent(project: Path) -> None:
    await inferring(
        project, "set", "accept=40", "draws_per_seed=5", "verify.min_grounding=null", "dedup.minhash=null", tell=fresh()
    )
    with RunFolder.read(project / "set") as folder:
        paths: dict[str, list[str]] = {}
        for example in folder.examples():
            seed = folder.seed_of(example)
            if seed.kind == "text":
                paths.setdefault(seed.id, []).append(example.path[0])
    wanted = ("affected", "dislike", "like", "read", "write")
    assert {len(set(path)) for path in paths.values()} == {5}
    assert {step for path in paths.values() for step in path} == {
        f"persona/would-{'be-' if name == 'affected' else ''}{name}" for name in wanted
    }


async def test_a_person_who_has_nothing_to_do_with_the_text_is_rejected(project: Path) -> None:
    def astray(content: str, constraint: Constraint | None) -> str:
        return "A person wants to know how rockets land upright. This person works as a pilot."

    outcome = await inferring(project, "set", "agents.persona=[would-read]", tell=astray)
    assert outcome.books.drafts["accepted"] == 0
    assert set(outcome.books.reasons) == {"rejected: rule/on-topic"}
    with pytest.raises(PersonaError, match="no personas"):
        load_set(str(project / "set"))


@pytest.mark.parametrize(("granularity", "because"), [("broad", False), ("specific", False), ("detailed", True)])
async def test_people_are_as_detailed_as_asked_for(project: Path, granularity: str, because: bool) -> None:
    outcome = await inferring(
        project, "set", f"personas.granularity={granularity}", "accept=3", "verify.min_grounding=null"
    )
    full = load_set(str(project / "set"))
    assert outcome.ended == "goal" and granularity in full.made
    assert all((", because " in persona.text) == because for persona in full.personas)
    assert all(("This person works" in persona.text) == (granularity != "broad") for persona in full.personas)


async def test_what_is_known_of_people_is_asked_where_wanted(project: Path) -> None:
    def tell(content: str, constraint: Constraint | None) -> str | None:
        if constraint is None or constraint.kind == "regex":
            return None
        known = {"role": "baker", "domain": " food ", "expertise": "", "place": "Unknown", "age": "30-39"}
        return json.dumps(known) if "seed" not in content else "no"

    outcome = await inferring(project, "set", "accept=4", "verify.min_grounding=null", tell=tell, attributes=True)
    full = load_set(str(project / "set"))
    assert [persona.attributes for persona in full.personas] == [
        {"role": "baker", "domain": "food", "age": "30-39"}
    ] * 4
    assert outcome.calls_made >= 8


async def test_attributes_that_cannot_be_read_are_not_known(project: Path) -> None:
    def tell(content: str, constraint: Constraint | None) -> str | None:
        return None if constraint is None or constraint.kind == "regex" else "not JSON"

    outcome = await inferring(project, "set", "accept=4", "verify.min_grounding=null", tell=tell, attributes=True)
    assert outcome.books.drafts["accepted"] == 4
    assert all(persona.attributes == {} for persona in load_set(str(project / "set")).personas)


class Bearing:
    """Texts that name a direction point there; all others to the north."""

    name = "bearing"
    dimensions = 2

    def embed(self, texts: list[str]) -> Matrix:
        angles = [90.0 if "east" in text else 180.0 if "south" in text else 0.0 for text in texts]
        radians = np.radians(np.array(angles))
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def gap(name: str) -> Topic:
    return Topic(name, name, Seed.of("topic", name, "topics.txt:1"))


async def filled(project: Path, tell: Any, *gaps: str, tries: int = 3) -> Outcome:
    base = crew(2)
    made, work = people.fill(recipe(project), base, [gap(name) for name in gaps], 0.9, Bearing(), tries=tries)
    return await generate(made, project / "full", sm=Telling(tell=tell), work=work)


async def test_a_gap_is_tried_for_until_somebody_is_within_reach(project: Path) -> None:
    tries = Counter[str]()

    def tell(content: str, constraint: Constraint | None) -> str:
        topic = content.split("\n\n")[0]
        tries[topic] += 1
        where = topic if topic == "east" and tries[topic] == 3 else "nowhere"
        return (
            f"A person wants to know why it is so far to the {where}, try {tries[topic]}. This person works as a guide."
        )

    outcome = await filled(project, tell, "east", "south")
    assert outcome.books.drafts == {"accepted": 1, "rejected": 1, "duplicate": 0, "failed": 0}
    assert outcome.books.reasons == {"rejected: persona/reach": 1}
    assert tries == {"east": 3, "south": 3}
    full = load_set(str(project / "full"))
    assert full.personas[:2] == crew(2).personas and "east" in full.personas[2].text
    assert full.personas[2].source == gap("east").seed.id


EASTERN = "A person wants to know why the sun rises in the east. This person works as a guide."


async def test_who_stands_in_the_set_already_fills_no_gap(project: Path) -> None:
    base = replace(crew(1), personas=(Persona.of(EASTERN),))
    made, work = people.fill(recipe(project), base, [gap("east")], 0.9, Bearing())
    sm = Telling(tell=lambda *_: EASTERN)
    outcome = await generate(made, project / "full", sm=sm, work=work)
    assert outcome.books.drafts["duplicate"] == 1
    with RunFolder.read(project / "full") as folder:
        assert [one.parents for one in folder.examples("duplicate")] == [(base.personas[0].id,)]


def test_the_cast_of_people_is_there_whatever_the_recipe_chooses(project: Path) -> None:
    chosen = people.cast_of(recipe(project, "agents.persona=[would-read]"))
    assert [agent.prompt.name for agent in chosen.agents["persona"]] == [
        "attributes",
        "has-to-do-with",
        "relative",
        "would-read",
    ]


async def test_an_engine_that_refuses_to_describe_somebody_ends_no_run(project: Path) -> None:
    class Refusing(Telling):
        async def complete(self, request: Request) -> tuple[Reply, ...]:
            if request.constraint and request.constraint.kind == "schema":
                raise EngineRefused("too long")
            return await super().complete(request)

    made, work = people.build(recipe(project, "accept=4", "verify.min_grounding=null"), name="set", attributes=True)
    outcome = await generate(made, project / "set", sm=Refusing(tell=lambda *_: None), work=work)
    assert outcome.books.drafts["accepted"] == 4


def test_people_are_not_inferred_from_people(project: Path) -> None:
    seeds = recipe(project).model_copy(update={"seeds": (Source(path="two.yaml", kind="persona"),)})
    with pytest.raises(PersonaError, match=r"seeds\[0\].kind: persona: people are inferred from texts"):
        people.build(seeds, name="set")


async def test_a_run_that_has_made_no_set_is_told_apart(project: Path) -> None:
    await generate(recipe(project, "accept=1"), project / "corpus")
    with pytest.raises(PersonaError, match="holds a run and no persona set"):
        load_set(str(project / "corpus"))
