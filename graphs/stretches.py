"""What stands around the values in a text: the stretches before the first, ahead of each other one, and after the last.

A small SM left to choose among them puts a comma everywhere, and a VM then never learns where a value ends without one.
So what kind of stretch a place gets is drawn as the seed's own texts have it, and the SM chooses among those of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

_TRIES = 30
_OPEN, _CLOSED = "([", ")]"
# Where no text of the seed shows what stands ahead of a value.
_PLAIN = (" ", ", ")


@dataclass(frozen=True, slots=True)
class Stretches:
    """As often as they were found."""

    before: tuple[str, ...] = ("",)
    ahead: tuple[tuple[str, str], ...] = ()
    """Each with the name of the field that it stands ahead of."""
    after: tuple[str, ...] = ("",)

    @classmethod
    def of(cls, found: Sequence[tuple[str, dict[str, str]]]) -> Stretches:
        """Those of some texts, each with its record in the order of the text."""
        before: list[str] = []
        ahead: list[tuple[str, str]] = []
        after: list[str] = []
        for text, record in found:
            end = 0
            for place, (name, value) in enumerate(record.items()):
                start = text.find(value, end)
                if start < 0 or (place and start == end):  # within another value, or up against it
                    break
                if place:
                    ahead.append((name, text[end:start]))
                else:
                    before.append(text[:start])
                end = start + len(value)
            else:
                after.append(text[end:])
        return cls(tuple(before) or ("",), tuple(ahead), tuple(after) or ("",))

    def drawn(self, fields: Sequence[str], rng: Random) -> tuple[tuple[str, ...], ...]:
        """What may stand in each place of a text with these fields: before, ahead of each but the first, and after."""
        places = [self.before]
        for name in fields[1:]:
            own = tuple(one for field, one in self.ahead if field == name)
            places.append(own or tuple(one for _, one in self.ahead) or _PLAIN)
        places.append(self.after)
        for _ in range(_TRIES):
            one = [rng.choice(place) for place in places]
            if _balanced("".join(one)):
                break
        return tuple(_alike(stretch, place) for stretch, place in zip(one, places, strict=True))


def _alike(drawn: str, place: tuple[str, ...]) -> tuple[str, ...]:
    """A stretch of words may be any other of the same brackets; one without words is what was drawn."""
    if not _worded(drawn):
        return (drawn,)
    return tuple(sorted({one for one in place if _worded(one) and _brackets(one) == _brackets(drawn)}))


def _worded(stretch: str) -> bool:
    return any(map(str.isalnum, stretch))


def _brackets(text: str) -> str:
    return "".join(char for char in text if char in _OPEN + _CLOSED)


def _balanced(text: str) -> bool:
    """Whether every bracket that is closed was opened, and the other way round."""
    opened: list[str] = []
    for char in text:
        if char in _OPEN:
            opened.append(char)
        elif char in _CLOSED and (not opened or _OPEN.index(opened.pop()) != _CLOSED.index(char)):
            return False
    return not opened
