"""Which drafts are asked about, as the address of a page says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args
from urllib.parse import urlencode

from understudy.corpus.reviews import LABELS
from understudy.errors import UserError
from understudy.nouns import Status

STAGES = ("seed", "persona", "transform", "instruct", "gate", "answer", "refine", "noise", "verify", "judge")
"""A draft's way through the graph, in order; it ends with its status."""
_WORD = re.compile(r'"([^"]+)"|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for; an empty field asks for nothing."""

    status: str = ""
    reason: str = ""
    skill: str = ""
    leaf: str = ""
    persona: str = ""
    """The id of a persona, or the start of it."""
    agent: str = ""
    """An agent that had a part in the draft, as the path names it."""
    kind: str = ""
    seed: str = ""
    """The id of a seed, or the start of it."""
    way: str = ""
    """Two stages that followed one another, as `gate>answer`."""
    by: str = ""
    """Who said something of the draft, such as `judge/relevant`."""
    said: str = ""
    """What they said: `yes`, `no`, or `alone` for a no that nobody else said."""
    least: str = ""
    """The lowest score of `by`."""
    most: str = ""
    """The highest."""
    review: str = ""
    """What people said: `accept`, `reject`, `edit`, `none` for what nobody has reviewed, or `due` for what is to be."""
    words: str = ""
    """Words that its text has, in any of their English forms; a phrase stands in quotes."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """The filter in the query of an address; what it does not know is left out.

        Raises:
            UserError: when a value cannot be one.
        """
        found = cls(**{field.name: query[field.name].strip() for field in fields(cls) if field.name in query})
        _one_of("status", found.status, get_args(Status))
        _one_of("said", found.said, ("yes", "no", "alone"))
        _one_of("review", found.review, (*LABELS, "due"))
        for name in ("least", "most"):
            try:
                float(getattr(found, name) or 0)
            except ValueError:
                raise UserError(f"{name}: {getattr(found, name)!r}", expected="a number, such as 0.8") from None
        return found

    def query(self, **changes: str) -> str:
        """The query of the address that asks for this, with changes."""
        changed = replace(self, **changes)
        return urlencode({f.name: getattr(changed, f.name) for f in fields(self) if getattr(changed, f.name)})

    def asked(self) -> dict[str, str]:
        """What is asked for, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition on `drafts` and its values, without the words; `reviews` are those that stand."""
        conditions, values = ["true"], dict[str, Any]()
        for name in ("status", "reason", "skill", "leaf", "kind"):
            if value := getattr(self, name):
                conditions.append(f"{name} = ${name}")
                values[name] = value
        for name in ("persona", "seed"):
            if value := getattr(self, name):
                conditions.append(f"starts_with({name}, ${name})")
                values[name] = value
        if self.agent:
            conditions.append("list_contains(path, $agent)")
            values["agent"] = self.agent
        if self.way:
            conditions.append("contains('>' || stages || '>', $way)")
            values["way"] = f">{self.way}>"
        if self.review in ("none", "due"):
            conditions.append("id NOT IN (SELECT id FROM reviews)")
            if self.review == "due":
                conditions.append("status = 'accepted' AND ('0x' || id[:8])::UBIGINT < $share * 4294967296")
        elif self.review:
            conditions.append("id IN (SELECT id FROM reviews WHERE label = $review)")
            values["review"] = self.review
        if self.by:
            conditions.append(f"turn IN (SELECT turn FROM verdicts WHERE {self._verdict(values)})")  # noqa: S608
        return " AND ".join(conditions), values

    def _verdict(self, values: dict[str, Any]) -> str:
        conditions = ["verifier = $by"]
        values["by"] = self.by
        if self.said:
            conditions.append({"yes": "passed", "no": "NOT passed", "alone": "alone"}[self.said])
        for name, sign in (("least", ">="), ("most", "<=")):
            if value := getattr(self, name):
                conditions.append(f"score {sign} ${name}")
                values[name] = float(value)
        return " AND ".join(conditions)

    def match(self) -> str | None:
        """The words as FTS5 reads them; None when there are none.

        Each is quoted, so that nothing in them is an operator.
        """
        found = [phrase or word for phrase, word in _WORD.findall(self.words)]
        return " AND ".join(f'"{text}"' for text in found if any(char.isalnum() for char in text)) or None


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value and value not in known:
        raise UserError(f"{name}: {value!r}", expected=", ".join(known))
