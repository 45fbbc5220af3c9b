"""Persona sets as runs: people inferred from texts, people related to people, and people for the gaps of a domain.

Persona Hub (arXiv 2406.20094, section 2) calls the first two Text-to-Persona and Persona-to-Persona. Each person is one
draft of the runner: journaled, deduplicated at the gate, accounted for, and resumed like any other. The output folder
is a run folder and a persona set in one.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from understudy.agents import Agent, Catalog, Known, Unusable, catalog_of, load_catalog
from understudy.corpus import Accounting, RunFolder, card, persona_folders
from understudy.errors import EngineRefused, PersonaError
from understudy.evals import PERSONA_RULES, Pair, on_topic, verdicts
from understudy.graphs import nodes
from understudy.graphs.nodes import Update
from understudy.graphs.pipeline import routed
from understudy.graphs.state import Context, State
from understudy.graphs.work import Work
from understudy.models import Embedder
from understudy.nouns import ATTRIBUTES, Persona, Seed, Verdict
from understudy.personas import PersonaSet, load_relations
from understudy.personas.coverage import Topic
from understudy.recipe import Recipe

MOST_HOPS = 6
# Words of the persona agents' own, which are no sign of a subject.
_FRAME = "This person works as wants know explain glad because must decide see uses this code another"
_MOST_DRAWS = 1000  # what a recipe allows
_NOT_KNOWN = frozenset({"", "none", "unknown", "n/a", "null", "not specified"})


def build(recipe: Recipe, *, name: str, domain: str = "", attributes: bool = False) -> tuple[Recipe, Work]:
    """Text-to-Persona: who would read, write, like, dislike or be affected by each seed.

    Returns the recipe as it is run, without a test split, and the work.

    Args:
        recipe: seeds, SM, budget and how many people are wanted (`accept`).
        name: what the set is called.
        domain: what the people have to do with.
        attributes: whether what is known of each is asked for as well, one call more.

    Raises:
        PersonaError: when seeds are people already.
    """
    if (place := next((n for n, source in enumerate(recipe.seeds) if source.kind == "persona"), None)) is not None:
        raise PersonaError(
            "people are inferred from texts, tables and code",
            where=f"seeds[{place}].kind: persona",
            remedy="to find out who is related to people, `understudy personas relate`",
        )
    recipe = recipe.model_copy(update={"test_share": 0.0}).at(recipe.folder)
    base = PersonaSet(name, f"People inferred from the seeds of {recipe.name}.", recipe.license, (), domain)
    made = f"text-to-persona, {recipe.personas.granularity}"

    def compiled() -> Any:
        return _graph({"infer": (infer, _to_gate)}, attributes)

    return recipe, _work(recipe, compiled, base, made, version=("build", attributes))


def relate(
    recipe: Recipe, base: PersonaSet, *, hops: int, relatives: int, relations: Path | None = None,
    attributes: bool = False,
) -> tuple[Recipe, Work]:  # fmt: skip
    """Persona-to-Persona: each person's relatives, theirs, and so on.

    Returns the recipe with the plan that this takes (one draft for each relative), and the work.

    Args:
        recipe: SM and budget; its seeds are not read.
        base: whose relatives are looked for; its members stay in the set.
        hops: how many relations away, at most six.
        relatives: of each person.
        relations: a YAML file of the types of relation; the shipped ones without.
        attributes: as in `build`.

    Raises:
        PersonaError: when a person would have more than 1000 relatives.
    """
    kin = Kin(load_relations(relations), hops, relatives, len(base.personas), recipe.seed)
    draws = sum(relatives**hop for hop in range(1, hops + 1))
    if draws > _MOST_DRAWS:
        raise PersonaError(
            f"{relatives} relatives over {hops} hops are {draws:,} people for each in the set",
            expected=f"at most {_MOST_DRAWS:,}",
            remedy="ask for fewer hops, and relate what comes out once more",
        )
    recipe = recipe.model_copy(
        update={"test_share": 0.0, "draws_per_seed": draws, "accept": draws * len(base.personas)}
    ).at(recipe.folder)

    def compiled() -> Any:
        return _graph({"relate": (kin.relate, kin.after)}, attributes, kin.closed)

    made = f"persona-to-persona, {relatives} relatives over {hops} hops"
    seeds = tuple(
        (0, Seed.of("persona", one.text, one.id, persona=dataclasses.asdict(one), tokens=0)) for one in base.personas
    )
    version = ("relate", hops, relatives, list(kin.relations.items()), attributes)
    return recipe, _work(recipe, compiled, base, made, seeds, version)


def fill(
    recipe: Recipe, base: PersonaSet, gaps: Sequence[Topic], reach: float, embedder: Embedder, *, tries: int = 4,
    attributes: bool = False,
) -> tuple[Recipe, Work]:  # fmt: skip
    """Somebody for each gap: inferred from its topic, until one is within reach of it.

    Returns the recipe with the plan that this takes (one draft for each gap), and the work.

    Args:
        recipe: SM and budget; its seeds are not read.
        base: the set that has the gaps; its members stay in it.
        gaps: topics that nobody is near to.
        reach: the least cosine at which a person covers a topic.
        embedder: makes the embeddings.
        tries: how often it is tried for each gap.
        attributes: as in `build`.
    """
    recipe = recipe.model_copy(update={"test_share": 0.0, "draws_per_seed": 1, "accept": len(gaps)}).at(recipe.folder)
    reaching = Reaching({gap.seed.id: gap for gap in gaps}, reach, embedder, tries)

    def compiled() -> Any:
        return _graph({"infer": (reaching.infer, _to_reach), "reach": (reaching.look, reaching.after)}, attributes)

    seeds = tuple((0, gap.seed) for gap in gaps)
    version = ("fill", base.version, [gap.text for gap in gaps], reach, embedder.name, tries, attributes)
    return recipe, _work(recipe, compiled, base, f"people for {len(gaps)} gaps", seeds, version)


def _work(
    recipe: Recipe,
    compiled: Callable[[], Any],
    base: PersonaSet,
    made: str,
    seeds: tuple[tuple[int, Seed], ...] | None = None,
    version: tuple[Any, ...] = (),
) -> Work:
    def finish(
        folder: RunFolder, books: Accounting, model: str, measures: dict[str, float], figures: dict[str, Any]
    ) -> None:
        card.write_report(folder, books, model, measures, figures)
        new = (example.persona for example in folder.examples() if example.persona)
        full = base.with_members((*base.personas, *new), f"{made} by {model}")
        full = dataclasses.replace(full, sm=", ".join(dict.fromkeys(filter(None, (base.sm, model)))))
        more = persona_folders.Card(tuple(card.accounting(books)), tuple(card.drafts(folder, "accepted")))
        persona_folders.write(folder.path, full.card, full.personas, full.version, more)

    known = tuple((persona.id, persona.text) for persona in base.personas)
    version = (*version, base.version, base.name, base.domain)
    return Work(compiled, cast_of(recipe), ("persona",), _text, finish, seeds, known, version)


def cast_of(recipe: Recipe) -> Catalog:
    """The recipe's agents, and those who speak of people and topics, whom `agents.persona` does not choose."""
    folder = recipe.path(recipe.agents.folder) if recipe.agents.folder else None
    chosen = catalog_of(recipe)
    every = load_catalog(recipe.agents.model_copy(update={"persona": None}), folder).agents["persona"]
    named = {agent.name for agent in chosen.agents["persona"]}
    there = tuple(one for one in every if one.name in named or {"persona", "topic"} & set(one.prompt.kinds))
    return Catalog({**chosen.agents, "persona": there})


def _text(state: State) -> str:
    persona = state.get("persona")
    return persona.text if persona else ""


# The graphs


def _graph(first: dict[str, tuple[Any, Any]], attributes: bool, closed: Callable[[State], None] | None = None) -> Any:
    """One or two nodes that come up with a person, then the gate, what is known of the person, and the end."""
    graph = StateGraph(State, context_schema=Context)
    names = [*first, "gate", "commit"]
    for name, (node, route) in first.items():
        graph.add_node(name, routed(node, route), destinations=tuple(names))
    graph.add_edge(START, next(iter(first)))

    async def commit(state: State, runtime: Runtime[Context]) -> Update:
        update = await settle(state, runtime)
        if closed is not None:
            closed({**state, **update})  # type: ignore[typeddict-item]
        return update

    if attributes:
        graph.add_node("gate", routed(nodes.gate, _to_describe), destinations=("describe", "commit"))
        graph.add_node("describe", describe)
        graph.add_edge("describe", "commit")
    else:
        graph.add_node("gate", nodes.gate)
        graph.add_edge("gate", "commit")
    graph.add_node("commit", commit)
    graph.add_edge("commit", END)
    return graph.compile(name="understudy-people")


def _to_gate(state: State, context: Context) -> Literal["gate", "commit"]:
    return "commit" if "status" in state else "gate"


def _to_describe(state: State, context: Context) -> Literal["describe", "commit"]:
    return "commit" if "status" in state else "describe"


def _to_reach(state: State, context: Context) -> Literal["reach", "commit"]:
    return "commit" if "status" in state else "reach"


@nodes.counted
async def infer(state: State, runtime: Runtime[Context]) -> Update:
    """Say who has to do with the seed, unless what comes out is nobody."""
    update = await inferred(state, runtime)
    recipe = runtime.context.recipe
    # A profession alone says nothing of the subject.
    grounded = recipe.personas.granularity != "broad"
    return update | sound(update["persona"].text, recipe, state["seed"].content if grounded else None)


async def inferred(state: State, runtime: Runtime[Context], topic: str = "") -> Update:
    """Ask who has to do with the seed, or a topic in it; the agents take turns by draw, and from try to try."""
    context, seed, tried = runtime.context, state["seed"], state.get("round", 0)
    able = agents_for(context.catalog, seed, "PersonaText")
    start = Random(f"{context.recipe.seed}:{seed.id}:infer").randrange(len(able))  # noqa: S311
    agent = able[(start + state["draw"] + tried) % len(able)]
    said = await nodes.ask({**state, "draw": state["draw"] + tried}, runtime, agent, topic=topic)
    persona = Persona.of(said.value, source=seed.id)
    return {"persona": persona, "path": (agent.name,), "calls": said.calls, "round": tried + 1}


def sound(text: str, recipe: Recipe, material: str | None = None) -> Update:
    """Reject a person who points at the text, speaks as a model, or has nothing to do with the material."""
    found = _heard(text, recipe, material)
    return {"verdicts": found} if all(verdict.passed for verdict in found) else nodes.rejected(found)


def _heard(text: str, recipe: Recipe, material: str | None = None) -> tuple[Verdict, ...]:
    rules = PERSONA_RULES if material is None else (*PERSONA_RULES, on_topic)
    return verdicts(Pair(text, text, material or "", False, _FRAME), recipe.verify, rules)


def agents_for(catalog: Catalog, seed: Seed, reply: str) -> tuple[Agent, ...]:
    """The persona agents that take a seed of this kind and give this type of reply."""
    return tuple(one for one in catalog.of("persona", seed.kind) if one.prompt.reply == reply)


async def describe(state: State, runtime: Runtime[Context]) -> Update:
    """Ask what is known of the person; a reply that cannot be read says nothing of them."""
    persona = state["persona"]
    if persona is None:
        return {}
    seed = Seed.of("persona", persona.text, persona.id)
    (agent,) = agents_for(runtime.context.catalog, seed, "Known")[:1]
    try:
        said = await nodes.ask({**state, "seed": seed}, runtime, agent)
    except (Unusable, EngineRefused) as error:
        return {"path": (agent.name,), "calls": nodes.paid(error)}
    known: Known = said.value
    words = {name: " ".join(getattr(known, name).split()) for name in ATTRIBUTES}
    attributes = {name: value for name, value in words.items() if value.lower() not in _NOT_KNOWN}
    described = dataclasses.replace(persona, attributes=attributes)
    return {"persona": described, "path": (agent.name,), "calls": said.calls}


async def settle(state: State, runtime: Runtime[Context]) -> Update:
    """Close the draft; a person whom nothing speaks against is accepted."""
    decided: State = state if "status" in state else {**state, "status": "accepted", "reason": None}
    persona = state.get("persona")
    messages = [{"role": "assistant", "content": persona.text}] if persona else []
    return {
        "status": decided["status"],
        "reason": decided["reason"],
        "example": nodes.closed(decided, "persona", messages),
    }


class Kin:
    """The relatives of each person as a tree: draw by draw, those one relation away, then those two away, and so on.

    A draft walks from the person to its own place in the tree. The calls on the way are its ancestors', so the journal
    has them. Whoever is a near-copy of somebody who is there already is a duplicate and has no relatives of their own:
    circles are cut there.
    """

    def __init__(self, relations: dict[str, str], hops: int, relatives: int, people: int, seed: int) -> None:
        self.relations = relations
        self._hops = hops
        self._relatives = relatives
        self._people = people
        self._seed = seed
        self._kept: dict[int, asyncio.Future[bool]] = {}
        """By turn, whether a draft of this sitting was accepted; of those only who may have relatives."""
        self.relate = nodes.counted(self._relate)

    def way(self, draw: int) -> list[int]:
        """The draws of a draft's ancestors from the first hop on, and its own."""
        way = [draw]
        while way[0] >= self._relatives:
            way.insert(0, way[0] // self._relatives - 1)
        return way

    def relation(self, seed: Seed, draw: int) -> str:
        """What somebody is to the person before; siblings differ while there are types enough."""
        parent, place = divmod(draw, self._relatives)
        names = list(self.relations)
        Random(f"{self._seed}:{seed.id}:{parent}:relation").shuffle(names)  # noqa: S311
        return names[place % len(names)]

    async def _relate(self, state: State, runtime: Runtime[Context]) -> Update:
        """Go one hop further."""
        seed, hop, way = state["seed"], state.get("round", 0), self.way(state["draw"])
        person = state.get("persona") or Persona(**seed.meta["persona"])
        if hop == 0 and person.hop + len(way) > MOST_HOPS:
            return {"status": "rejected", "reason": f"more than {MOST_HOPS} hops away"}
        if hop == 0 and len(way) > 1 and not await self._is_kept(state, way[-2], runtime.context):
            return {"status": "rejected", "reason": "nobody to be related to"}
        relation = self.relation(seed, way[hop])
        here = Seed.of("persona", person.text, person.id)
        able = agents_for(runtime.context.catalog, here, "PersonaText")
        agent = Random(f"{self._seed}:{seed.id}:{way[hop]}:relative").choice(able)  # noqa: S311
        said = await nodes.ask(
            {**state, "seed": here, "draw": way[hop]}, runtime, agent, relation=self.relations[relation]
        )
        relative = Persona.of(said.value, "relation", parent=person.id, relation=relation, hop=person.hop + 1)
        update: Update = {"persona": relative, "round": hop + 1, "path": (agent.name,), "calls": said.calls}
        return update | (sound(said.value, runtime.context.recipe) if hop + 1 == len(way) else {})

    def after(self, state: State, context: Context) -> Literal["relate", "gate", "commit"]:
        """On until the place of the draft is reached."""
        if "status" in state:
            return "commit"
        return "gate" if state["round"] == len(self.way(state["draw"])) else "relate"

    def closed(self, state: State) -> None:
        """Tell those who wait whether this one may have relatives."""
        if len(self.way(state["draw"])) < self._hops:
            self._future(state["turn"]).set_result(state["status"] == "accepted")

    async def _is_kept(self, state: State, draw: int, context: Context) -> bool:
        turn = draw * self._people + state["turn"] % self._people
        earlier = context.settled(turn)
        return await self._future(turn) if earlier is None else earlier == "accepted"

    def _future(self, turn: int) -> asyncio.Future[bool]:
        return self._kept.setdefault(turn, asyncio.get_running_loop().create_future())


class Reaching:
    """Whether a person is near enough to the topic that nobody was near to."""

    def __init__(self, topics: dict[str, Topic], reach: float, embedder: Embedder, tries: int) -> None:
        self._topics = topics
        self.infer = nodes.counted(self._infer)
        self._reach = reach
        self._embedder = embedder
        self._tries = tries

    async def _infer(self, state: State, runtime: Runtime[Context]) -> Update:
        """Say who has to do with the topic."""
        seed = state["seed"]
        return await inferred(
            state, runtime, "" if seed.kind == "topic" else ": ".join(self._topics[seed.id].headings[-2:])
        )

    async def look(self, state: State, runtime: Runtime[Context]) -> Update:
        """Compare the person with the topic."""
        texts = [_text(state), self._topics[state["seed"].id].text]
        person, topic = await asyncio.to_thread(self._embedder.embed, texts)
        cosine = round(float(person @ topic), 6)
        near = Verdict("persona/reach", cosine >= self._reach, max(0.0, cosine), f"wanted {self._reach:g}")
        found = (*_heard(texts[0], runtime.context.recipe), near)
        passed = all(verdict.passed for verdict in found)
        if not passed and state["round"] >= self._tries:
            return nodes.rejected(found)
        return {"verdicts": found, "improved": passed}

    def after(self, state: State, context: Context) -> Literal["infer", "gate", "commit"]:
        """Another try, while some are left."""
        if "status" in state:
            return "commit"
        return "gate" if state["improved"] else "infer"
