"""What must survive when an instruction is reworded: numbers, names, code, quotations, and what gives its label away.

They are read off the clean instruction by rules and looked for in the noised one. A rule of this kind is strict rather
than clever: what it refuses wrongly costs a draft its noise, what it passed wrongly would cost it its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from understudy.evals.rules import STOP
from understudy.nouns import Verdict

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_WORTH = {name: worth for worth, name in enumerate(_UNITS)} | _TENS
_DIGITS = re.compile(r"(?:(?<![\w.)\]])[-−])?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*)")
_ALONE = "|".join(sorted(_UNITS, key=len, reverse=True))
_SPELT = re.compile(rf"\b(?:({'|'.join(_TENS)})(?:[ -]({'|'.join(_UNITS[1:10])}))?|({_ALONE}))\b", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_][\w'’&-]*(?:\.(?=\w))?")
_CODE = re.compile(
    r"```.*?```|`[^`\n]+`"  # what is marked as code
    r"|https?://[^\s)>\"']+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # addresses
    r"|(?<!\w)--?[A-Za-z][\w-]*(?==|\b)(?<!-)|(?<![\w/])/?(?:[\w.-]+/)+[\w.-]*\w"  # options and paths
    r"|\b\w+(?:\.\w+)*\([^()\n]{0,60}\)|\b[A-Za-z]+\w*_\w+\b|\b[a-z]+[A-Z]\w*\b|\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+\b"
    r"|</?[A-Za-z][^<>\n]{0,60}>",
    re.DOTALL,
)
_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|«([^»\n]+)»|(?<!\w)'([^'\n]{2,}?)'(?!\w)")
_STARTS = re.compile(r"(?:^|[.!?:;]\s+|\n\s*(?:[-*•]\s+|\d+[.)]\s+)?|[\"“«(]\s*)$")
_NUMBERING = re.compile(r"\W*\d+[.)](?=\s|$)")
_LABEL_WORDS, _LABEL_LETTERS = 3, 30
# So many times the words, and so many more, are still a wording of the same; above, something is said beside it.
_GROWTH, _ROOM = 2, 20
# Capitalised wherever they stand, and nobody's name.
_NO_NAMES = {"i", "i'm", "i'd", "i've", "i'll", "i’m", "i’d", "i’ve", "i’ll", "ok"}


@dataclass(frozen=True, slots=True)
class Invariants:
    """What the noised text must keep, as it stands in the clean one; numbers in one spelling."""

    numbers: frozenset[str]
    names: tuple[str, ...]
    code: tuple[str, ...]
    quotes: tuple[str, ...]
    words: tuple[str, ...]
    """Of those that the recipe protects."""
    label: str | None
    """The answer, if it is short enough to be a label."""

    @property
    def shown(self) -> tuple[str, ...]:
        """All of them, for people and prompts."""
        said = (*sorted(self.numbers), *self.names, *self.code, *self.quotes, *self.words)
        return tuple(dict.fromkeys(said))


def invariants(clean: str, answer: str = "", protect: Iterable[str] = ()) -> Invariants:
    """Read off an instruction what its noised form must keep.

    Args:
        clean: the instruction.
        answer: what it is answered with; its names, and the whole of it if it is a label, are kept where they stand.
        protect: further words.
    """
    code = tuple(dict.fromkeys(match.group() for match in _CODE.finditer(clean)))
    quotes = tuple(dict.fromkeys(next(filter(None, match.groups())) for match in _QUOTED.finditer(clean)))
    said = prose(clean)
    names = names_in(said)
    names += [name for name in names_in(answer, starts=True) if name not in names and stands(name, said)]
    return Invariants(
        numbers_in(clean), tuple(names), code, quotes, tuple(word for word in protect if stands(word, clean)),
        label_of(answer),
    )  # fmt: skip


def broken(clean: str, noised: str, kept: Invariants, min_words: int = 0) -> Verdict | None:
    """The first invariant that a noised instruction breaks, as a verdict with what is wrong; None if it keeps all.

    Verdicts are `noise/unchanged`, `noise/numbers`, `noise/names`, `noise/code`, `noise/quotes`, `noise/words`,
    `noise/label` and `noise/length`.
    """
    if noised.split() == clean.split():
        return _no("unchanged", "nothing was changed")
    found = numbers_in(noised)
    if lost := sorted(kept.numbers - found):
        return _no("numbers", f"number {lost[0]} lost")
    if new := sorted(found - kept.numbers):
        return _no("numbers", f"number {new[0]} added")
    for name, what, wanted in (("names", "name", kept.names), ("quotes", "quotation", kept.quotes),
                               ("words", "word", kept.words)):  # fmt: skip
        if gone := next((one for one in wanted if not stands(one, noised)), None):
            return _no(name, f"{what} {gone} lost")
    if gone := next((span for span in kept.code if span not in noised), None):
        return _no("code", f"code {gone} lost")
    if kept.label is not None and stands(kept.label, clean) != stands(kept.label, noised):
        return _no("label", f"answer {kept.label} {'lost' if stands(kept.label, clean) else 'given away'}")
    if len(clean.splitlines()) == 1 < (lines := len(noised.splitlines())):
        return _no("length", f"{lines} lines, expected 1")  # a small SM goes on to talk about what it did
    count, most = len(noised.split()), _GROWTH * len(clean.split()) + _ROOM
    if not min_words <= count <= most:
        return _no("length", f"{count} words, expected {min_words} to {most}")
    return None


def prose(text: str) -> str:
    """A text without its code, addresses and options."""
    return _CODE.sub(" ", text)


def number_spans(text: str) -> list[tuple[int, int]]:
    """Where the numbers of a line stand, those in words too; not one that numbers it."""
    first = found.end() if (found := _NUMBERING.match(text)) else 0
    spans = (match.span() for pattern in (_DIGITS, _SPELT) for match in pattern.finditer(text, first))
    return sorted(spans)


def numbers_in(text: str) -> frozenset[str]:
    """The numbers of a text in one spelling: `1,200`, `1200.0` and, of small ones but `one`, words are the same."""
    found = set()
    for match in _DIGITS.finditer(text):
        digits = match.group().replace(",", "").replace("−", "-")
        found.add(digits if digits.count(".") > 1 else _plain(Decimal(digits)))
    for match in _SPELT.finditer(text):
        tens, unit, alone = (part and part.casefold() for part in match.groups())
        worth = _WORTH[tens] + (_WORTH[unit] if unit else 0) if tens else _WORTH[alone or ""]
        if worth != 1:  # `one` is more often a pronoun
            found.add(str(worth))
    return frozenset(found)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def names_in(text: str, *, starts: bool = False) -> list[str]:
    """Runs of capitalised words, in order; the first word of a sentence is none, unless `starts` says so."""
    out: list[str] = []
    run: list[str] = []
    end = -1
    for match in _NAME.finditer(text):
        word = match.group()
        first = _STARTS.search(text[max(0, match.start() - 8) : match.start()]) is not None
        # An acronym or a word such as `McKay` is a name wherever it stands.
        telling = any(letter.isupper() for letter in word[1:])
        named = word[0].isupper() and word.casefold() not in _NO_NAMES
        if first and not telling and (not starts or word.casefold() in STOP):
            named = False
        if run and (not named or text[end : match.start()] != " "):
            out.append(" ".join(run))
            run = []
        if named:
            run.append(word.removesuffix("'s").removesuffix("’s").rstrip("."))
            end = match.end()
    if run:
        out.append(" ".join(run))
    return list(dict.fromkeys(out))


def label_of(answer: str) -> str | None:
    """An answer of a few words without its full stop; None for a longer one, which is no label."""
    bare = answer.strip().strip("\"'`*.").strip()
    short = 0 < len(bare.split()) <= _LABEL_WORDS and len(bare) <= _LABEL_LETTERS
    return bare if short else None


def stands(part: str, text: str) -> bool:
    """Whether a phrase stands in a text as whole words, whatever its case and spacing."""
    words = r"\s+".join(map(re.escape, part.split()))
    return re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE) is not None


def protected_spans(text: str, parts: Sequence[str]) -> list[tuple[int, int]]:
    """Where a text must not be touched: its numbers, its code, its quotations, and the given parts."""
    spans = [match.span() for pattern in (_DIGITS, _SPELT, _CODE, _QUOTED) for match in pattern.finditer(text)]
    for part in parts:
        words = r"\s+".join(map(re.escape, part.split()))
        if words:
            spans += [match.span() for match in re.finditer(words, text, re.IGNORECASE)]
    return sorted(spans)


def _no(name: str, why: str) -> Verdict:
    return Verdict(f"noise/{name}", False, None, why)
