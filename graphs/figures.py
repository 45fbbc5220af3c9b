"""The figures of a corpus, for its card, its report.json and `understudy report`: one way to work them out.

The drafts are read once, a batch at a time, and counted; what compares examples with one another looks at an even
sample, whose size is told. So memory does not grow with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import floor, log10
from typing import Any, get_args

from understudy.agents import catalog_of
from understudy.agents.independence import independent
from understudy.corpus import RunFolder
from understudy.corpus.accounting import Accounting
from understudy.corpus.sample import SAMPLE
from understudy.evals.agreement import Agreement
from understudy.evals.bias import Gendered, Shares
from understudy.evals.contamination import Contamination
from understudy.evals.diversity import Diversity
from understudy.evals.duplicates import Duplicates
from understudy.evals.interval import wilson
from understudy.evals.label_figures import LabelCounts
from understudy.evals.lengths import Lengths
from understudy.evals.rules import words
from understudy.evals.space import COLUMNS, Space
from understudy.evals.templates import templates
from understudy.graphs.quotas import label_of
from understudy.graphs.watching import monitored
from understudy.models import Embedder
from understudy.nouns import ATTRIBUTES, Status
from understudy.traces.costs import Share, Tally, drawn_persona, planned_skill
from understudy.traces.journeys import Journeys

VERSION = 1
"""Of the measures: figures of one version can be compared."""
_STATUSES: tuple[Status, ...] = get_args(Status)
_READ = [
    "id", "status", "reason", "seed_id", "seed_kind", "source", "path", "sm_tokens", "verdicts",
    "persona.text", *(f"persona.attributes.{name}" for name in ATTRIBUTES),
    "versions.list.element.round", "versions.list.element.outcome",
]  # fmt: skip
_DIGITS = 6
_LISTED = 200


@dataclass(slots=True)
class Figures:
    """What `figures` found."""

    told: dict[str, Any]
    """For JSON; floats have six significant digits."""
    measures: dict[str, float]
    """The diversity figures by themselves, as they have always been in report.json, not rounded."""
    space: Space
    groups: dict[str, tuple[str, str]]
    """Kind of seed and skill of the examples in the space, by id."""


def figures(
    folder: RunFolder, books: Accounting, embedder: Embedder | None = None, against: Contamination | None = None
) -> Figures:
    """Work out all figures of a corpus.

    Args:
        folder: the corpus.
        books: its accounting.
        embedder: embeds a sample of the instructions for `coverage`; without, nothing is embedded.
        against: benchmarks that the accepted rows are compared with.
    """
    space = Space.of(folder.index(COLUMNS))
    found = _Found(dict.fromkeys(space.ids, ("", "")))
    trip = folder.recipe.round_trip
    if trip is not None:
        found.labels = LabelCounts(folder.recipe.targets, getattr(trip, "base_rate", {}))
    for status in _STATUSES:
        columns = [*_READ, "messages"] if status == "accepted" else _READ
        for row in folder.rows(status, columns=columns):
            found.add(row, against)
    measures = found.diversity.figures(embedder)
    name = folder.ledger.facts().get("index", "").rpartition(" ")[2]
    embeddings = space.figures()
    told = {
        "version": VERSION,
        "drafts": sum(books.drafts.values()),
        "accepted": books.drafts["accepted"],
        "cost": _cost(books),
        "journeys": found.journeys.figures(),
        "shares": {
            "agent": _agents(found.agents, books),
            "skill": _shares(found.skills.shares()),
            "persona": _shares(found.personas.shares()),
        },
        "lengths": {"instruction-words": found.asked.figures(), "answer-words": found.said.figures()},
        "diversity": {"n": found.diversity.sampled, **measures} if measures else None,
        "embeddings": None if embeddings is None else {**embeddings, "embedder": name},
        "templates": None if (common := templates(space.texts)) is None else {**common, "of": space.accepted},
        "near-duplicates": found.duplicates.figures(space.admitted),
        "agreement": found.agreement.figures(),
        "bias": {name: shares.figures() for name, shares in found.bias.items()}
        | {"gendered-words": found.gendered.figures()},
    }
    if against is not None:
        told["contamination"] = against.figures()
    if (seen := monitored(folder)) is not None:
        told["monitor"] = seen
    if trip is not None and found.labels is not None:
        cast = catalog_of(folder.recipe).round_trip_cast
        apart = trip.votes > 0 and independent(folder.recipe, *cast)
        of = "labels" if folder.recipe.labels else "answers"
        told[of] = found.labels.figures(*cast, trip.votes, apart)
    return Figures(_rounded(told), measures, space, found.groups)


@dataclass(slots=True)
class _Found:
    """All that is counted while the drafts go by."""

    groups: dict[str, tuple[str, str]]
    journeys: Journeys = field(default_factory=Journeys)
    skills: Tally = field(default_factory=lambda: Tally(planned_skill))
    personas: Tally = field(default_factory=lambda: Tally(drawn_persona, SAMPLE))
    agents: dict[str, Share] = field(default_factory=dict)
    diversity: Diversity = field(default_factory=Diversity)
    asked: Lengths = field(default_factory=Lengths)
    said: Lengths = field(default_factory=Lengths)
    duplicates: Duplicates = field(default_factory=Duplicates)
    agreement: Agreement = field(default_factory=Agreement)
    gendered: Gendered = field(default_factory=Gendered)
    labels: LabelCounts | None = None
    bias: dict[str, Shares] = field(
        default_factory=lambda: {
            "skill": Shares(),
            "source": Shares(),
            "seed": Shares(lambda id: int(id, 16)),  # ids are hashes already
            **{name: Shares() for name in ATTRIBUTES},
        }
    )

    def add(self, row: dict[str, Any], against: Contamination | None) -> None:
        accepted = row["status"] == "accepted"
        self.journeys.add(row)
        self.skills.add(row)
        self.personas.add(row)
        self.duplicates.add(row)
        self.agreement.add(row["verdicts"], row.get("versions") or ())
        if self.labels is not None:
            self.labels.add(label_of(row["path"]), row)
        for name in dict.fromkeys(step.partition(":")[0] for step in row["path"] if not step.startswith("plan/")):
            share = self.agents.setdefault(name, Share(name, 0))
            share.drafts = (share.drafts or 0) + 1
            setattr(share, row["status"], getattr(share, row["status"]) + 1)
        for name, value in _attributes(row):
            self.bias[name].add(value, accepted)
        if accepted:
            self._read(row, against)

    def _read(self, row: dict[str, Any], against: Contamination | None) -> None:
        """What is looked at in accepted examples only: their text."""
        messages = [(message["role"], message["content"] or "") for message in row["messages"]]
        told = [words(text) for _, text in messages]
        self.diversity.add(messages[0][1], messages[-1][1], len(told[-1]))
        asked = next((len(said) for (role, _), said in zip(messages, told, strict=True) if role == "user"), None)
        if asked is not None:
            self.asked.add(asked)
        self.said.add(len(told[-1]))
        self.gendered.add(set().union(*told))
        if row["id"] in self.groups:
            self.groups[row["id"]] = row["seed_kind"], planned_skill(row)
        if against is not None:
            against.add(row["id"], messages)


def _attributes(row: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "skill", planned_skill(row)
    yield "source", row["source"].rpartition(":")[0] or row["source"]
    yield "seed", row["seed_id"]
    known = (row["persona"] or {}).get("attributes") or {}
    for name in ATTRIBUTES:
        yield name, known.get(name)


def _agents(found: Mapping[str, Share], books: Accounting) -> list[dict[str, Any]]:
    """Every agent that had a part in a draft or was called, the dearest first; tokens are all of its calls'."""
    every = dict(found)
    for name, cost in books.agents.items():
        every.setdefault(name, Share(name, 0)).tokens = cost.prompt_tokens + cost.completion_tokens
    told = _shares(list(every.values()))
    for one in told:
        one["tokens_per_accepted"] = one["tokens"] / books.drafts["accepted"] if books.drafts["accepted"] else None
    return told


def _shares(found: list[Share]) -> list[dict[str, Any]]:
    """Shares for JSON, those with the most tokens first, with Wilson's interval of what was accepted."""
    found = sorted(found, key=lambda one: (-one.tokens, one.name))
    if len(found) > _LISTED:
        counts = ("drafts", "tokens", *_STATUSES)
        rest = {name: sum(getattr(one, name) or 0 for one in found[_LISTED:]) for name in counts}
        found = [*found[:_LISTED], Share(f"({len(found) - _LISTED:,} others)", **rest)]
    out = []
    for share in found:
        n = share.drafts or 0
        low, high = wilson(share.accepted, n)
        out.append(
            {
                "name": share.name, "drafts": n, "accepted": share.accepted, "rejected": share.rejected,
                "duplicate": share.duplicate, "failed": share.failed, "rate": share.accepted / n if n else None,
                "low": low if n else None, "high": high if n else None, "tokens": share.tokens,
                "tokens_per_accepted": share.per_accepted,
            }
        )  # fmt: skip
    return out


def _cost(books: Accounting) -> dict[str, Any]:
    accepted = books.drafts["accepted"]
    return {
        "tokens": books.tokens,
        "tokens_per_accepted": books.tokens / accepted if accepted else None,
        "money": books.cost,
        "money_per_accepted": books.cost / accepted if accepted else None,
    }


def _rounded(value: Any) -> Any:
    """Floats at six significant digits: the last ones hang on the machine."""
    if isinstance(value, float):
        return round(value, _DIGITS - 1 - floor(log10(abs(value)))) if value else 0.0
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return value
