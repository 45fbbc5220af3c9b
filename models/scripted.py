"""An SM without a model: for tests of mechanism, and for trying a recipe's wiring in seconds.

Replies come from a list, from a function of the messages, or, with neither, are made of the request's own
words, drawn by the call's seed. The last is a function of the call key alone, like a real seeded engine.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import PrivateAttr

from understudy.corpus.tokens import count_tokens
from understudy.errors import EngineRefused
from understudy.models.improvise import improvise
from understudy.models.sm import SM, Capabilities, Constraint, Reply
from understudy.nouns import Messages
from understudy.prompt import Sampling


class Scripted(SM):
    """Answers from `script`; `asked` remembers the messages of each request."""

    script: Any = None
    """A list of replies, a function of the messages, or None to improvise."""
    delay_s: float = 0.0
    _asked: list[Messages] = PrivateAttr(default_factory=list)

    @property
    def identity(self) -> str:
        """Always the same: a script has no weights."""
        return "scripted"

    @property
    def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities(schema=True, regex=True, seeded=True)

    @property
    def asked(self) -> list[Messages]:
        """The messages of every request so far."""
        return self._asked

    async def complete(
        self, messages: Messages, sampling: Sampling, seed: int, constraint: Constraint | None = None
    ) -> Reply:
        """The next scripted reply.

        Raises:
            EngineRefused: when a list of replies has run out.
        """
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        self._asked.append(messages)
        if callable(self.script):
            text = self.script(messages)
        elif self.script is not None:
            if len(self._asked) > len(self.script):
                raise EngineRefused(f"the script ran out at request {len(self._asked)}")
            text = self.script[len(self._asked) - 1]
        else:
            text = improvise(messages, seed, constraint)
        prompt = sum(count_tokens(message["content"]) for message in messages)
        return Reply(text, prompt, count_tokens(text), False)
