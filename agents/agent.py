"""Asking an agent: render, call, read the typed reply, re-ask once with the error, else give up by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import regex

from understudy.agents.replies import REPLIES, Mismatch
from understudy.models import Constraint
from understudy.models.caller import Caller
from understudy.models.loops import looped
from understudy.nouns import Messages, Seed
from understudy.prompt import Prompt
from understudy.sms import Voice

_MATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A typed reply and the keys of the calls it took."""

    value: Any
    calls: tuple[str, ...]


class Unusable(Exception):
    """An agent's reply could not be read, twice."""

    def __init__(self, agent: str, why: str, calls: tuple[str, ...], kind: str = "parse") -> None:
        self.agent = agent
        self.why = why
        self.kind = kind
        """What is counted: `parse`, or `loop` for a reply that repeats itself."""
        self.calls = calls
        super().__init__(f"{agent}: {why}")


@dataclass(frozen=True, slots=True)
class Agent:
    """A prompt with the system text it shares with the whole cast."""

    prompt: Prompt
    system: str

    @property
    def name(self) -> str:
        """`family/name`, as it stands in an example's path."""
        return f"{self.prompt.family}/{self.prompt.name}"

    def takes(self, seed: Seed) -> bool:
        """Whether a seed is of a kind that the agent takes, and has in it what the agent needs."""
        need = self.prompt.need(seed.kind)
        if seed.kind not in self.prompt.kinds:
            return False
        try:
            return need is None or regex.search(need, seed.content, timeout=_MATCH_S) is not None
        except TimeoutError:
            return False

    def messages(
        self, seed: Seed, passage: str | None, *, editor: bool = False, next_turn: bool = False, tools: str = "",
        **values: Any,
    ) -> Messages:  # fmt: skip
        """The prompt: system text, seed, passage if it is not the seed itself, tools, then the task."""
        material = f"{seed.content}\n\nRewritten:\n{passage}" if passage else seed.content
        material += f"\n\nTools:\n{tools}" if tools else ""
        if shown := self.prompt.shown(values.pop("shape", "zero-shot")):
            # All seeds share the examples, so they come first.
            material = f"{shown}\n\nNow for this person:\n{material}" if material else shown
        return self.prompt.render(
            self.system, material, {"kind": seed.kind, **values}, editor=editor, next_turn=next_turn
        )

    async def ask(
        self,
        caller: Caller,
        seed: Seed,
        draw: int,
        passage: str | None = None,
        *,
        parent: str | None = None,
        editor: bool = False,
        voice: Voice = Voice(),  # noqa: B008
        priority: int = 0,
        variant: int = 0,
        form: str | None = None,
        check: str | None = None,
        **values: Any,
    ) -> Spoken:
        """One typed reply, from the SM that `voice` names; another for each `variant`; `form` is a pattern for it.

        With `check`, decoding is held to `form` where that can be done, and the reply must only match `check`.

        Raises:
            Unusable: when the first reply and the one after the error was shown both do not parse.
        """
        reply = REPLIES[self.prompt.reply]
        # Of the two templates of a file, the pattern is for the editor's, or for the first turn's.
        other = values.get("next_turn") or (self.prompt.editor is not None and not editor)
        pattern = form or (None if other else self.prompt.form(values.get("granularity", "specific")))
        marker = (self.prompt.editor_marker if editor else self.prompt.marker) or ""
        constraint = reply.constraint
        if pattern or marker:
            lead = f"{regex.escape(marker)} " if marker else ""
            constraint = Constraint("regex", lead + (pattern or r"[\s\S]{12,}"))
        messages = self.messages(seed, passage, editor=editor, **values)
        keys: tuple[str, ...] = ()
        why = kind = ""
        for attempt in range(2):
            call = await caller.call(
                self.name,
                messages,
                self.prompt.sampling,
                constraint,
                (draw, attempt, variant) if variant else (draw, attempt),
                keys[-1] if keys else parent,
                voice,
                priority,
            )
            keys += (call.key,)
            text = call.reply or ""
            kind = "loop" if call.error == "loop" or looped(text.split()) else "parse"
            try:
                if kind == "loop":
                    raise Mismatch("it repeats itself")
                if not text.lstrip().startswith(marker):
                    raise Mismatch(f"it must begin with {marker!r}")
                value = reply.read(text.lstrip().removeprefix(marker), call.error == "truncated")
                if (must := check or pattern) and not _has_form(value, must):
                    raise Mismatch(f"it must have the form /{must}/")
                return Spoken(value, keys)
            except Mismatch as error:
                why = str(error)
                messages = (
                    *messages,
                    {"role": "assistant", "content": text if kind == "parse" else text[:200]},
                    {"role": "user", "content": f"That cannot be used: {why}. Do the task again."},
                )
        raise Unusable(self.name, why, keys, kind)


def _has_form(text: str, pattern: str) -> bool:
    """Whether a text matches as a whole; a pattern that goes back and forth for ever does not."""
    try:
        return regex.fullmatch(pattern, text, timeout=_MATCH_S) is not None
    except TimeoutError:
        raise Mismatch(f"the pattern /{pattern}/ could not be matched to it within {_MATCH_S:g} s") from None
