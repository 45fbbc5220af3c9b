"""Who is there: the shipped prompt files, a user's own folder, and the recipe's choice among them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NoReturn, get_args

import yaml

from understudy.agents.agent import Agent
from understudy.agents.independence import check_independent
from understudy.agents.replies import REPLIES
from understudy.errors import PromptError
from understudy.nouns import FAMILIES, Family, Kind, address
from understudy.prompt import First, Judged, Method, Prompt
from understudy.recipe import Cast, Recipe

# Of what an agent begins with, the section that says with what, and how one looks.
_SECTIONS: dict[First, tuple[str, str]] = {
    "record": ("inverted", "{text: title}"),
    "row": ("rows", "{use_case: …}"),
    "label": ("labels", "{task: …, text: …, values: …}"),
    "answer": ("answers", "{kinds: {number: 0.5, name: 0.5}}"),
}
_SUCH_AS: dict[First, str] = {"row": "more-rows", "label": "text-for-label", "answer": "question-for-answer"}
WHOLE_CAST = Cast(refine=get_args(Method))
"""Everybody, also those whom a recipe must name."""


def shipped() -> Path:
    """The folder of the shipped prompt files."""
    return Path(str(files("understudy.agents"))) / "prompts"


@dataclass(frozen=True, slots=True)
class Catalog:
    """The agents of one run, by family."""

    agents: dict[Family, tuple[Agent, ...]]

    def of(
        self,
        family: Family,
        kind: Kind,
        skill: str | None = None,
        *,
        answerable: bool = True,
        judged: Judged = "example",
    ) -> tuple[Agent, ...]:
        """The agents of a family that take seeds of a kind, by name.

        Of those who recast or refine, these are the ones for a skill and those for any; of those who answer, the ones
        for the skill, or else for any, and of them the most particular. Judges are those who judge the one thing.
        """
        able = [agent for agent in self.agents[family] if kind in agent.prompt.kinds]
        if family == "instruct":
            able = [agent for agent in able if agent.prompt.situation is None or self._has_tools(kind, agent)]
        if family in {"transform", "refine", "answer"}:
            able = [agent for agent in able if agent.prompt.skill in {None, skill}]
        if family == "judge":
            able = [agent for agent in able if agent.prompt.of == judged]
        if family == "answer":
            able = [agent for agent in able if agent.prompt.answerable == answerable]
        if family == "answer" and able:
            able = [agent for agent in able if agent.prompt.skill == skill] or able
            fewest = min(len(agent.prompt.kinds) for agent in able)
            able = [agent for agent in able if len(agent.prompt.kinds) == fewest]
        return tuple(able)

    def _has_tools(self, kind: Kind, agent: Agent) -> bool:
        """Whether somebody builds a library, calls its tools and reports, so that an agent can ask for tools."""
        replies = {
            one.prompt.reply
            for one in (*self.agents["transform"], *self.agents["answer"])
            if kind in one.prompt.kinds and one.prompt.skill == agent.prompt.skill
        }
        return {"Calls", "Answer"} <= replies and bool({"Library", "Tool"} & replies)

    def __iter__(self) -> Iterator[Agent]:
        return (agent for family in FAMILIES for agent in self.agents[family])

    def check(self, kinds: AbstractSet[Kind], needed: tuple[Family, ...]) -> None:
        """That every kind of seed can get through a graph that needs an agent of each of these families.

        Raises:
            PromptError: naming the family and kind without an agent.
        """
        for family in needed:
            for kind in sorted(kinds):
                if not self.of(family, kind):
                    raise PromptError(
                        f"no {family} agent takes {kind} seeds",
                        where=f"agents.{family}",
                        remedy=f"name one that does, or leave `agents.{family}` out of the recipe",
                    )
        for kind in sorted(kinds):
            open_ones = [
                agent
                for agent in (*self.agents["instruct"], *self.agents["refine"])
                if kind in agent.prompt.kinds and not agent.prompt.answerable
            ]
            for agent in open_ones:
                if "answer" in needed and not self.of("answer", kind, answerable=False):
                    raise PromptError(
                        f"no answer agent for {kind} seeds says that the material has no answer",
                        where=f"agents.answer, for {agent.name}",
                        remedy="name `cannot-tell` there, or leave that agent out",
                    )

    def check_voices(self, recipe: Recipe) -> None:
        """That every voice speaks for an agent who is there.

        Raises:
            PromptError: naming the voice and the nearest agent.
        """
        names = [agent.name for agent in self]
        for speaker in recipe.voices:
            if "/" in speaker and speaker not in names:
                near = difflib.get_close_matches(speaker, names, n=1, cutoff=0.5)
                raise PromptError(
                    "no agent of this run has that name",
                    where=f"voices.{speaker}",
                    remedy=f"did you mean `{near[0]}`?" if near else "name a family, or family/agent",
                )

    def check_first(self, recipe: Recipe) -> None:
        """That whoever begins with something has the section that says with what, and that a section has its agents.

        Raises:
            PromptError: naming the agent.
            RecipeError: when who writes is the model that is to find again what was there first.
        """
        for agent in self.agents["instruct"]:
            for first, (section, example) in _SECTIONS.items():
                mine, there = agent.prompt.first == first, getattr(recipe, section) is not None
                if mine and not there:
                    raise PromptError(
                        f"{agent.name} says `first: {first}`", where="agents.instruct",
                        remedy=f"add a section such as `{section}: {example}`",
                    )  # fmt: skip
                if there and not mine and first != "record":  # beside records, others may ask
                    raise PromptError(
                        f"{agent.name} does not say `first: {first}`", where="agents.instruct",
                        remedy=f"name agents that do, such as `{_SUCH_AS[first]}`, or leave `{section}` out",
                    )  # fmt: skip
        trip = recipe.round_trip
        if trip is not None and trip.votes and not trip.same_solver:
            check_independent(recipe, *self.round_trip_cast)

    @property
    def round_trip_cast(self) -> tuple[list[str], list[str]]:
        """The names of those who write for a target that was drawn first, and of those who are to find it again."""
        writers = [agent.name for agent in self.agents["instruct"] if agent.prompt.first in {"label", "answer"}]
        return writers, [agent.name for agent in self.solvers]

    @property
    def solvers(self) -> tuple[Agent, ...]:
        """Who is to find again what was there first; those of labels see no seed, so they take every kind."""
        return tuple(agent for agent in self.agents["judge"] if agent.prompt.of in {"label", "answer"})

    @property
    def version(self) -> str:
        """Hash of every prompt that this run can use."""
        return address([(agent.name, agent.prompt.version, agent.system) for agent in self])


def load_catalog(cast: Cast | None = None, folder: Path | None = None) -> Catalog:
    """The shipped agents and those of `folder`, narrowed to the recipe's choice.

    Raises:
        PromptError: for a file that does not lint, or a name that no file defines.
    """
    cast = cast or Cast()
    system = (shipped() / "shared" / "system.md").read_text(encoding="utf-8").strip()
    found: dict[Family, dict[str, Agent]] = {family: {} for family in FAMILIES}
    skills = load_skills(folder)
    for root in [shipped(), *([folder] if folder else [])]:
        if not root.is_dir():
            raise PromptError("no such folder of prompt files", where=str(root), remedy="check `agents.folder`")
        for family in FAMILIES:
            here: dict[str, Path] = {}
            for path in sorted((root / family).rglob("*.md")):
                if (twin := here.setdefault(path.stem, path)) != path:
                    raise PromptError("another file has this name", where=str(path), remedy=f"rename it, or {twin}")
                prompt = _load(path, family, path.stat().st_mtime_ns)
                if prompt.skill is not None and prompt.skill not in skills:
                    _unknown_skill(prompt.skill, skills, f"{path}: skill")
                # Who writes rows is no teacher: a small SM was trained for it without a system text.
                found[family][path.stem] = Agent(prompt, "" if prompt.first == "row" else system)
    agents: dict[Family, tuple[Agent, ...]] = {}
    for family in FAMILIES:
        names: tuple[str, ...] | None = getattr(cast, family)
        known = found[family]
        if family == "refine":
            names = _of_methods(names, known)
        for name in names or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                raise PromptError(
                    f"no {family} agent is called `{name}`",
                    where=f"agents.{family}",
                    expected=f"one of: {', '.join(known)}",
                    remedy=f"did you mean `{near[0]}`?" if near else f"add a prompt file {family}/{name}.md",
                )
        everybody = [name for name, agent in known.items() if agent.prompt.first is None]
        agents[family] = tuple(known[name] for name in sorted(set(everybody if names is None else names)))
    if cast.skills is not None:
        for skill in cast.skills:
            if skill not in skills:
                _unknown_skill(skill, skills, "agents.skills")
        agents["instruct"] = tuple(one for one in agents["instruct"] if one.prompt.skill in cast.skills)
    asking = {key for one in agents["instruct"] for key in (one.prompt.name, one.prompt.skill) if key}
    for key in cast.quotas:
        if key not in asking:
            near = difflib.get_close_matches(key, asking, n=1, cutoff=0.5)
            raise PromptError(
                f"no skill and no instruct agent of this run is called `{key}`",
                where=f"agents.quotas.{key}",
                remedy=f"did you mean `{near[0]}`?" if near else "see `understudy agents`",
            )
    return Catalog(agents)


def catalog_of(recipe: Recipe) -> Catalog:
    """The agents of a recipe's run: without its section `noise` nobody rewords, and nobody is asked about it.

    Raises:
        PromptError: as `load_catalog` and `check_first`, or for a weight of a noiser who is not there.
        RecipeError: as `check_first`.
    """
    folder = recipe.path(recipe.agents.folder) if recipe.agents.folder else None
    catalog, noise = load_catalog(recipe.agents, folder), recipe.noise
    judges = [one for one in catalog.agents["judge"] if one.prompt.of not in {"same-answer", "label", "answer"}]
    noisers = catalog.agents["noise"] if noise else ()
    solving = "label" if recipe.labels else "answer" if recipe.answers else None
    if (noise and noise.judge) or solving:
        everybody = load_catalog(recipe.agents.model_copy(update={"judge": None}), folder).agents["judge"]
        named = [one for one in catalog.agents["judge"] if one.prompt.of == solving]
        judges += named or [one for one in everybody if one.prompt.of == (solving or "same-answer")]
    if noise:
        known = [one.prompt.name for one in noisers]
        for name in noise.weights:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                raise PromptError(
                    f"no noise agent of this run is called `{name}`",
                    where=f"noise.weights.{name}",
                    expected=f"one of: {', '.join(known)}",
                    remedy=f"did you mean `{near[0]}`?" if near else f"add a prompt file noise/{name}.md",
                )
    found = Catalog({**catalog.agents, "judge": tuple(judges), "noise": noisers})
    found.check_first(recipe)
    return found


def _of_methods(names: tuple[str, ...] | None, known: dict[str, Agent]) -> tuple[str, ...]:
    """The refine agents that a recipe means: `evolve` and `principle` stand for all that work so."""
    groups: dict[str, list[str]] = {method: [] for method in get_args(Method)}
    for name, agent in known.items():
        groups[agent.prompt.method].append(name)
    wanted = ("suggest",) if names is None else names
    return tuple(one for name in wanted for one in groups.get(name, [name]))


def load_skills(folder: Path | None = None) -> dict[str, str]:
    """The skills by name, each with what it is: the shipped ones, then those of `folder`.

    Raises:
        PromptError: when a `skills.yaml` is no mapping of names to sentences.
    """
    known: dict[str, str] = {}
    for path in (shipped().parent / "skills.yaml", *([folder / "skills.yaml"] if folder else [])):
        if not path.is_file():
            continue
        try:
            said = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError) as error:
            raise PromptError(f"not valid YAML: {error}", where=str(path)) from error
        if not isinstance(said, dict) or not all(isinstance(part, str) for pair in said.items() for part in pair):
            raise PromptError(
                "not a list of skills", where=str(path), expected="each with a sentence: `name: What it is.`"
            )
        known |= said
    return known


def _unknown_skill(skill: str, known: Iterable[str], where: str) -> NoReturn:
    near = difflib.get_close_matches(skill, list(known), n=1, cutoff=0.5)
    raise PromptError(
        f"no skill is called `{skill}`",
        where=where,
        expected=f"one of: {', '.join(known)}",
        remedy=f"did you mean `{near[0]}`?" if near else "add it to a `skills.yaml` beside your prompt files",
    )


@cache
def _load(path: Path, family: Family, modified_ns: int) -> Prompt:
    """Parsed once for each state of the file."""
    prompt = Prompt.load(path)
    checks = [("name", prompt.name, path.stem), ("family", prompt.family, family)]
    field = {"judge": "of", "refine": "skill or method"}.get(family, "skill")
    if path.parent.name != family:
        checks.append((field, prompt.place or "none", path.parent.name))
    for field, given, wanted in checks:
        if given != wanted:
            raise PromptError(
                f"got `{given}`", where=f"{path}: {field}", expected=f"`{wanted}`, as the file's place says"
            )
    reply = REPLIES.get(prompt.reply)
    if reply is None or family not in reply.families:
        able = ", ".join(reply.name for reply in REPLIES.values() if family in reply.families)
        raise PromptError(f"got `{prompt.reply}`", where=f"{path}: reply", expected=f"{able} for the {family} family")
    return prompt
