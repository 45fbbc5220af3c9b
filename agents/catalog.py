"""Who is there: the shipped prompt files, a user's own folder, and the recipe's choice among them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from understudy.agents.agent import Agent
from understudy.agents.replies import REPLIES
from understudy.errors import PromptError
from understudy.nouns import FAMILIES, Family, Kind, address
from understudy.prompt import Prompt
from understudy.recipe import Cast, Recipe


def shipped() -> Path:
    """The folder of the shipped prompt files."""
    return Path(str(files("understudy.agents"))) / "prompts"


@dataclass(frozen=True, slots=True)
class Catalog:
    """The agents of one run, by family."""

    agents: dict[Family, tuple[Agent, ...]]

    def of(self, family: Family, kind: Kind) -> tuple[Agent, ...]:
        """The agents of a family that take seeds of a kind, by name; the most particular answerers only."""
        able = [agent for agent in self.agents[family] if kind in agent.prompt.kinds]
        if family == "answer" and able:
            fewest = min(len(agent.prompt.kinds) for agent in able)
            able = [agent for agent in able if len(agent.prompt.kinds) == fewest]
        return tuple(able)

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
    for root in [shipped(), *([folder] if folder else [])]:
        if not root.is_dir():
            raise PromptError("no such folder of prompt files", where=str(root), remedy="check `agents.folder`")
        for family in FAMILIES:
            for path in sorted((root / family).glob("*.md")):
                found[family][path.stem] = Agent(_load(path, family, path.stat().st_mtime_ns), system)
    agents: dict[Family, tuple[Agent, ...]] = {}
    for family in FAMILIES:
        names: tuple[str, ...] | None = getattr(cast, family)
        known = found[family]
        for name in names or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                raise PromptError(
                    f"no {family} agent is called `{name}`",
                    where=f"agents.{family}",
                    expected=f"one of: {', '.join(known)}",
                    remedy=f"did you mean `{near[0]}`?" if near else f"add a prompt file {family}/{name}.md",
                )
        agents[family] = tuple(known[name] for name in sorted(known if names is None else names))
    return Catalog(agents)


@cache
def _load(path: Path, family: Family, modified_ns: int) -> Prompt:
    """Parsed once for each state of the file."""
    prompt = Prompt.load(path)
    for field, given, wanted in (("name", prompt.name, path.stem), ("family", prompt.family, family)):
        if given != wanted:
            raise PromptError(
                f"got `{given}`", where=f"{path}: {field}", expected=f"`{wanted}`, as the file's place says"
            )
    reply = REPLIES.get(prompt.reply)
    if reply is None or family not in reply.families:
        able = ", ".join(reply.name for reply in REPLIES.values() if family in reply.families)
        raise PromptError(f"got `{prompt.reply}`", where=f"{path}: reply", expected=f"{able} for the {family} family")
    return prompt
