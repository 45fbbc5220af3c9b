"""One agent, one Markdown file: YAML front matter, then the agent's task as a sandboxed Jinja template.

The file holds the task alone. What all agents share (the system text, the seed) is laid out here, in
front of it, so every prompt of a seed starts with the same tokens and an engine with prefix caching reads
the seed once. Seed text is only ever a value: it is never parsed as a template.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import jinja2
import regex
import yaml
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.errors import PromptError
from understudy.nouns import Family, Kind, Messages, address

# The closed set of names a template may use, by the point of a seed's life at which they exist.
VARIABLES: dict[str, frozenset[str]] = {
    "persona": frozenset({"kind", "granularity", "relation", "topic"}),
    "transform": frozenset({"kind", "persona"}),
    "instruct": frozenset({"kind", "persona", "conversation", "wanted"}),
    "answer": frozenset({"kind", "persona", "instruction", "conversation", "results"}),
    "refine": frozenset({"kind", "persona", "instruction", "answer", "suggestion"}),
    "noise": frozenset({"kind", "persona", "instruction", "strength", "protected", "neighbours", "locale", "missed"}),
    "judge": frozenset({"kind", "persona", "instruction", "answer", "other", "conversation"}),
}

Granularity = Literal["broad", "specific", "detailed"]
Method = Literal["suggest", "evolve", "principle"]
Judged = Literal["example", "gain", "better", "answerable", "same-answer", "label", "answer"]
First = Literal["record", "row", "label", "answer"]
Situation = Literal[
    "single-all", "single-superfluous", "single-missing", "single-absent",
    "several-all", "several-missing", "several-absent",
]  # fmt: skip
Shape = Literal["zero-shot", "few-shot", "persona-few-shot"]
# Keys that came after the first release: a file without them has the version that it always had.
_LATER: dict[str, Any] = {
    "marker": None, "request": None, "examples": [], "skill": None, "grounded": True, "method": "suggest",
    "editor_marker": None, "forbids": None, "added_words": None, "answerable": True, "of": "example",
    "without_seed": False, "needs": None, "situation": None, "first": None, "turns": 1, "next_turn": None,
}  # fmt: skip

# What the templates of agents who begin with something may use instead.
_BEGINNING: dict[First, dict[str, frozenset[str]]] = {
    "record": {
        "task": frozenset({"kind", "persona"}),
        "next turn": frozenset({"kind", "persona", "record"}),
        "request": frozenset({"kind", "persona", "text", "given"}),
    },
    "row": {
        "task": frozenset({"wanted"}),
        "next turn": frozenset({"persona", "column", "meaning", "examples", "record"}),
        "request": frozenset({"use_case", "fields", "question"}),
    },
    "label": {
        "task": frozenset({"kind", "persona", "task", "text", "label", "meaning", "topic", "length"}),
        "request": frozenset({"task", "text", "values"}),
    },
    "answer": {"task": frozenset({"kind", "persona", "answer", "sentence"})},
}
# The same for judges who are to find again what was there first.
_SOLVING: dict[Judged, frozenset[str]] = {
    "label": frozenset({"task", "values"}),
    "answer": frozenset({"kind", "instruction"}),
}

_ENV = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)


class Sampling(BaseModel):
    """How the SM draws its reply."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(160, ge=1, le=8192)
    repetition_penalty: float = Field(1.0, ge=1, le=2)


class Shown(BaseModel):
    """An example of what an agent is to write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    persona: str | None = None
    """Whose it is; shown in the shape `persona-few-shot`."""
    text: str
    """Without the marker."""


class Prompt(BaseModel):
    """An agent's prompt file, checked: `name`, `family`, `kinds`, `reply`, `sampling` and the task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    family: Family
    skill: str | None = None
    """Transform, instruct, refine and answer agents: the skill that they are for, one of `skills.yaml`; none means
    any."""
    summary: str
    """One line for people: what the agent does."""
    kinds: tuple[Kind, ...] = ("text", "table", "code")
    """Seed kinds it can work on."""
    reply: str
    """Name of the reply type in `understudy.agents.replies`."""
    pattern: str | dict[Granularity, str] | None = None
    """A regular expression that the whole reply must match; of a refine pair, the editor's. It holds decoding
    where the engine can, which makes a small SM ask questions; elsewhere a reply that misses it is re-asked.
    Of a persona agent it may be one for each granularity."""
    marker: str | None = None
    """What the reply must begin with, such as `Math problem:`; it is taken off. Of a refine pair, the suggester's."""
    editor_marker: str | None = None
    """Refine pairs: the same for the editor. Two markers tell an editor's reply from a suggester's."""
    sampling: Sampling = Sampling()
    attach: bool = False
    """Instruct agents: the instruction refers to the seed, so the example carries the seed as context."""
    request: str | None = None
    """Instruct agents: a template of what the user is to have said, when the reply is the answer already."""
    examples: tuple[Shown, ...] = ()
    """Instruct agents: what to show in the shapes `few-shot` and `persona-few-shot`."""
    grounded: bool = True
    """Instruct agents: whether instruction and answer must share words with the seed. Judges: whether they are asked
    only of what must."""
    needs: str | dict[Kind, str] | None = None
    """Instruct agents: a regular expression that must be found in a seed for them to ask about it, such as `\\d`; or
    one for each kind of seed that needs something. Such a seed is not recast."""
    situation: Situation | None = None
    """Instruct agents for tools: how many tools the request needs, and whether it gives all parameters, some that no
    tool takes, or not all, or whether a tool that it needs is not there."""
    first: First | None = None
    """Instruct agents: what is there before the instruction, which is then right by construction. `record`: the reply
    is a record like those of the seed, and a second template asks for the text that it stands in; `row`: the reply is
    a row as cells in a line, and a second template asks for its free text; `label`: a text that has a given label;
    `answer`: a question whose answer was drawn from the seed. They work only in recipes that have a section `inverted`,
    `rows`, `labels` or `answers`."""
    turns: int = Field(1, ge=1, le=20)
    """Instruct agents: how often the user speaks; above 1, the second template says how to go on."""
    answerable: bool = True
    """Whether the material answers the instruction. Instruct agents and refine agents whose instructions it does not
    answer, on purpose, say false, and so do the answer agents for these; the example is labelled so."""
    of: Judged = "example"
    """Judges: what they are asked of. `example`: whether it may be accepted; `gain`: whether an evolved instruction
    asks for more than its parent, `other`; `better`: whether `answer` or `other` is the better one; `answerable`:
    whether the material answers an instruction that is meant to be unanswerable; `same-answer`: whether `answer` fits
    a noised instruction as well as the clean one, `other`, asked only if a recipe says `noise.judge`; `label`: which of
    the `values` of a section `labels` a text has, which they see without the seed and its label; `answer`: what the
    answer to a question is that was written for one."""
    without_seed: bool = False
    """Judges: whether they are asked only of instructions whose reader does not see the seed."""
    method: Method = "suggest"
    """Refine agents: how they work. `suggest`: a suggester says what could be better and an editor does it;
    `evolve`: one rewriting of the instruction, kept unless it is eliminated; `principle`: a critique by a principle
    and a revision. Those of the last two work only in recipes that name them, or the method, under `agents.refine`."""
    edits: Literal["instruction", "answer", "passage"] | None = None
    """Refine agents: what is rewritten. A passage is rewritten so that the same instruction has another answer."""
    added_words: tuple[int, int] | None = None
    """Evolving agents: by how many words the instruction should grow; what keeps to it is noted, not demanded."""
    forbids: str | None = None
    """Principles: a regular expression that no answer that follows the principle matches."""
    source: str | None = None
    """Paper or document the idea comes from."""
    task: str
    next_turn: str | None = None
    """Instruct agents with several turns: the second template, after a line `--- next turn ---`."""
    editor: str | None = None
    """Refine pairs: the second template, after a line `--- editor ---`; evolving agents have only one."""
    file: str

    @classmethod
    def load(cls, path: Path) -> Prompt:
        """Read and check one prompt file.

        Raises:
            PromptError: naming the file and field that is wrong.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"cannot read the prompt file: {error}", where=str(path)) from error
        parts = text.split("---\n", 2)
        if len(parts) != 3 or parts[0].strip():
            raise PromptError(
                "no front matter",
                where=f"{path}:1",
                expected="a first line of three dashes, YAML, three dashes, then the task",
            )
        try:
            head = yaml.safe_load(parts[1]) or {}
        except (yaml.YAMLError, ValueError) as error:
            raise PromptError(f"front matter is not YAML: {error}", where=str(path)) from error
        task, _, editor = parts[2].partition("\n--- editor ---\n")
        task, _, following = task.partition("\n--- next turn ---\n")
        try:
            prompt = cls(
                **head, task=task.strip(), next_turn=following.strip() or None, editor=editor.strip() or None,
                file=str(path),
            )  # fmt: skip
        except (ValidationError, TypeError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
            field = ".".join(str(part) for part in first["loc"]) or "front matter"
            raise PromptError(str(first["msg"]), where=f"{path}: {field}") from error
        prompt._check()
        return prompt

    def _check(self) -> None:
        if (self.family == "refine") != (self.edits is not None):
            raise PromptError(
                "a refine agent, and only a refine agent, edits something",
                where=f"{self.file}: edits",
                expected="`edits: instruction`, `edits: answer` or `edits: passage`",
            )
        if (self.family == "refine" and self.method != "evolve") != (self.editor is not None):
            raise PromptError(
                "a refine pair, and only a refine pair, has an editor",
                where=f"{self.file}: family",
                expected="a second template after `--- editor ---`; with `method: evolve`, only one template",
            )
        wanted = {"evolve": "instruction", "principle": "answer"}.get(self.method, self.edits)
        if self.family == "refine" and self.edits != wanted:
            raise PromptError(
                f"`edits: {self.edits}` with `method: {self.method}`",
                where=f"{self.file}: edits",
                expected=f"`edits: {wanted}`",
            )
        by_granularity = self.pattern if isinstance(self.pattern, dict) else {}
        if by_granularity and (self.family != "persona" or len(by_granularity) < len(get_args(Granularity))):
            raise PromptError(
                "patterns by granularity",
                where=f"{self.file}: pattern",
                expected=f"one each for {', '.join(get_args(Granularity))}, of a persona agent",
            )
        goes_on = self.turns > 1 or self.first in {"record", "row"}
        if goes_on != (self.next_turn is not None) or (goes_on and self.family != "instruct"):
            raise PromptError(
                "an instruct agent with several turns, or that begins with a record or row, and no other, says how to "
                "go on",
                where=f"{self.file}: turns",
                expected="`turns` above 1, `first: record` or `first: row`, and a second template after "
                "`--- next turn ---`",
            )
        asks = self.first is not None and "request" in _BEGINNING[self.first]
        if self.first and (self.turns > 1 or asks != (self.request is not None)):
            wanted = f"with {', '.join(sorted(_BEGINNING[self.first]['request']))}" if asks else "none"
            raise PromptError(
                f"an agent with `first: {self.first}` "
                + (
                    "says what the user is to have said, once" if asks else "replies with what the user is to have said"
                ),
                where=f"{self.file}: request",
                expected=f"a template {wanted}; no `turns`" if asks else "no `request`, and no `turns`",
            )
        if (self.request or self.examples or self.situation or self.first) and self.family != "instruct":
            raise PromptError(
                "only an instruct agent has these", where=f"{self.file}: request, examples, situation, first"
            )
        if self.skill and self.family not in {"transform", "instruct", "refine", "answer"}:
            raise PromptError(f"a {self.family} agent has no skill", where=f"{self.file}: skill", remedy="remove it")
        try:
            field = "pattern"
            for pattern in by_granularity.values() or [self.pattern or ""]:
                regex.compile(pattern)
            field = "forbids"
            regex.compile(self.forbids or "")
            field = "needs"
            for kind in self.kinds:
                regex.compile(self.need(kind) or "")
        except regex.error as error:
            raise PromptError(f"not a regular expression: {error}", where=f"{self.file}: {field}") from error
        allowed = VARIABLES[self.family]
        for label, body in (
            ("task", self.task), ("editor", self.editor or ""), ("request", self.request or ""),
            ("next turn", self.next_turn or ""),
        ):  # fmt: skip
            try:
                used = meta.find_undeclared_variables(_ENV.parse(body))
            except jinja2.TemplateSyntaxError as error:
                raise PromptError(f"{label}: {error.message}", where=f"{self.file}:{error.lineno}") from error
            permitted = allowed - {"suggestion"} if label == "task" else allowed
            permitted = (
                permitted - {"conversation"} if self.family == "instruct" and label != "next turn" else permitted
            )
            permitted = permitted & {"kind", "persona"} if label == "request" else permitted
            permitted = _BEGINNING[self.first].get(label, permitted) if self.first else permitted
            permitted = _SOLVING.get(self.of, permitted) if self.family == "judge" and label == "task" else permitted
            if used - permitted:
                raise PromptError(
                    f"{label} uses {sorted(used - permitted)}",
                    where=self.file,
                    expected=f"only {sorted(permitted)} exist when a {self.family} agent speaks",
                )

    @property
    def place(self) -> str | None:
        """The folder within its family's where the file lies: the skill, or how it refines, or what it judges."""
        if self.family == "judge":
            return None if self.of == "example" else self.of
        if self.method != "suggest":
            return self.method
        return self.skill

    @property
    def version(self) -> str:
        """Hash of everything in the file that changes a reply."""
        body = self.model_dump(mode="json", exclude={"summary", "source", "file"})
        return address({key: value for key, value in body.items() if key not in _LATER or value != _LATER[key]})

    def need(self, kind: Kind) -> str | None:
        """What must be found in a seed of a kind."""
        return self.needs.get(kind) if isinstance(self.needs, dict) else self.needs

    def form(self, granularity: Granularity = "specific") -> str | None:
        """The expression that a reply must match, without the marker; where there are several, by granularity."""
        return self.pattern[granularity] if isinstance(self.pattern, dict) else self.pattern

    def shown(self, shape: Shape) -> str:
        """The examples, laid out in a shape.

        Raises:
            PromptError: when there are none, or one lacks the persona that is to be shown with it.
        """
        if shape == "zero-shot":
            return ""
        if not self.examples:
            raise PromptError(
                "has no examples", where=f"{self.file}: examples", remedy="add some, or `shape: zero-shot`"
            )
        parts = ["Examples of what is wanted:"]
        for number, one in enumerate(self.examples, start=1):
            text = f"{self.marker} {one.text}" if self.marker else one.text
            if shape == "persona-few-shot":
                if not one.persona:
                    raise PromptError(
                        "no persona",
                        where=f"{self.file}: examples.{number}",
                        remedy="write whose it is, or `shape: few-shot`",
                    )
                text = f"The person: {one.persona}\n{text}"
            parts.append(text.strip())
        return "\n\n".join(parts)

    def render(
        self, system: str, material: str, values: dict[str, Any], *, editor: bool = False, next_turn: bool = False
    ) -> Messages:
        """The messages for one call: shared system text, then the seed and its passage, then the task.

        Raises:
            PromptError: when the template needs a value that is missing.
        """
        body = (self.editor if editor else self.next_turn if next_turn else None) or self.task
        try:
            task = _template(body).render(values)
        except Exception as error:  # a template raises whatever its expressions raise
            raise PromptError(f"does not render: {error}", where=self.file) from error
        content = f"{material}\n\n{task}" if material else task
        asked = {"role": "user", "content": content}
        return ({"role": "system", "content": system}, asked) if system else (asked,)

    def asked(self, **values: Any) -> str:
        """What the user is to have said, of an agent whose reply is the answer."""
        return str(_template(self.request or "").render(values))


@cache
def _template(body: str) -> jinja2.Template:
    return _ENV.from_string(body)
