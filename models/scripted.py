"""An SM without a model: for tests of mechanism, and for trying a recipe's wiring in seconds.

Replies come from a list, from a function of the messages, or, with neither, are made of the request's own
words, drawn by the call's seed. The last is a function of the call key alone, like a real seeded engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from pydantic import PrivateAttr

from understudy.corpus.tokens import count_tokens
from understudy.errors import EngineRefused
from understudy.models.improvise import improvise
from understudy.models.sm import SM, Capabilities, Constraint, Reply, Request
from understudy.nouns import Messages


class Scripted(SM):
    """Answers from `script`; `asked` remembers the messages of the last 256 requests."""

    script: Any = None
    """A list of replies, a function of the messages, or None to improvise."""
    delay_s: float = 0.0
    _asked: deque[Messages] = PrivateAttr(default_factory=lambda: deque(maxlen=256))
    _answered: int = PrivateAttr(default=0)

    @property
    def identity(self) -> str:
        """Always the same: a script has no weights."""
        return "scripted"

    @property
    def capabilities(self) -> Capabilities:
        """Whatever shapes a reply."""
        return Capabilities(schema=True, regex=True, seeded=True)

    @property
    def asked(self) -> list[Messages]:
        """The messages of the last 256 requests."""
        return list(self._asked)

    async def complete(self, request: Request) -> tuple[Reply, ...]:
        """The next scripted replies.

        Raises:
            EngineRefused: when a list of replies has run out.
        """
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        prompt = sum(count_tokens(message["content"]) for message in request.messages)
        replies = []
        for place in range(request.n):
            self._asked.append(request.messages)
            text = self._next(request.messages, request.seed + place, request.constraint)
            replies.append(Reply(text, 0 if place else prompt, count_tokens(text), False))
        return tuple(replies)

    def _next(self, messages: Messages, seed: int, constraint: Constraint | None) -> str:
        if callable(self.script):
            return str(self.script(messages))
        if self.script is None:
            return improvise(messages, seed, constraint)
        if self._answered >= len(self.script):
            raise EngineRefused(f"the script ran out at request {self._answered + 1}")
        self._answered += 1
        return str(self.script[self._answered - 1])
