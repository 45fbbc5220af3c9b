"""Pinned examples: regression cases beside a recipe, each with all that was asked and said for it.

    my-project/
    ├── recipe.yaml
    └── cases/
        └── 7a81fd3c6b51.json

A case is one file that can be read, changed and kept under version control. `graphs/replay.py` sends it through the
graph again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from understudy.corpus.folder import RunFolder
from understudy.corpus.reviews import Review
from understudy.corpus.storage import storage_errors
from understudy.errors import UserError
from understudy.nouns import Call, Example, Persona, Seed

HOME = "cases"
# What this agent writes is of a seed and of others like it.
_FROM_SEVERAL = "transform/library-from-code"
# What this one writes takes up what stands beside its seed.
_BESIDE = "noise/context"


@dataclass(frozen=True, slots=True)
class Case:
    """One pinned example."""

    example: str
    """Its id."""
    status: Literal["accepted", "rejected"]
    """What is expected to become of it: what it was, or what a person said that it should be."""
    reason: str | None
    """Who is expected to reject it; None: anybody."""
    messages: list[dict[str, Any]] | None
    """What is expected to be accepted; None: anything."""
    note: str
    seed: Seed
    draw: int
    asked_by: str
    """The instruct agent, by its full name."""
    persona: Persona | None
    persona_set: str | None
    """The set that the persona was drawn from."""
    run_seed: int
    engines: dict[str, dict[str, Any]]
    """What the SMs said of themselves: part of the calls' keys."""
    calls: tuple[Call, ...]


def pin(folder: RunFolder, prefix: str, review: Review | None = None) -> Path:
    """Write the example whose id starts with `prefix` as a case beside the corpus's recipe.

    With a review, what the person said is expected, else what became of it.

    Raises:
        RunFolderError: when the id is unknown or ambiguous.
        UserError: when the example cannot come out the same alone, or the recipe's folder is gone.
        StorageError: when the disk is full.
    """
    example, _ = folder.find(prefix)
    hangs = folder.recipe.allocate or folder.recipe.round_trip
    if why := "whose turn it was hangs on other drafts" if hangs else _not_alone(example):
        raise UserError(
            f"{example.id[:12]} cannot be pinned: {why}",
            expected="an example that was accepted or rejected",
        )
    recipe = folder.recipe
    if not recipe.folder.is_dir():
        raise UserError("the recipe's folder is gone", where=str(recipe.folder), remedy="pin it where the recipe is")
    accepted = example.status == "accepted" if review is None else review.label != "reject"
    unchanged = accepted == (example.status == "accepted") and (review is None or review.label != "edit")
    drawn = next((step.split("/", 1)[1] for step in example.path if step.startswith("persona-set/")), None)
    case = Case(
        example.id,
        "accepted" if accepted else "rejected",
        example.reason if unchanged else None,
        example.payload["messages"] if unchanged and accepted else None,
        review.note if review else "",
        folder.seed_of(example),
        example.draw,
        _asks(example),
        example.persona,
        drawn,
        recipe.seed,
        json.loads(folder.ledger.facts().get("engines", "{}")),
        tuple(call for key in example.calls if (call := folder.call(key))),
    )
    path = recipe.folder / HOME / f"{example.id[:12]}.json"
    with storage_errors(path):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(case), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def _not_alone(example: Example) -> str | None:
    """Why an example does not come out the same by itself."""
    if example.status == "duplicate":
        return "a duplicate is one beside other examples"
    if example.status == "failed":
        return "a failure is the engine's"
    if _FROM_SEVERAL in example.path:
        return "its tools are of several seeds"
    if any(version.by == _BESIDE for version in example.versions):
        return "a noiser was shown other seeds"
    return None if _asks(example) else "it does not say who was to ask"


def _asks(example: Example) -> str:
    """Who asked, or was planned to."""
    planned = (f"instruct/{step.rpartition('/')[2]}" for step in example.path if step.startswith("plan/"))
    asked = (step for step in example.path if step.startswith("instruct/"))
    return next(asked, next(planned, ""))


def pinned(home: Path) -> Iterator[tuple[Path, Case]]:
    """The cases beside a recipe, by name.

    Raises:
        UserError: when there is none, or a file is no case.
    """
    paths = sorted((home / HOME).glob("*.json"))
    if not paths:
        raise UserError("no pinned examples", where=str(home / HOME), remedy="pin some in `understudy traces`")
    for path in paths:
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            calls = tuple(Call(**one | {"messages": tuple(one["messages"])}) for one in known["calls"])
            persona = Persona(**known["persona"]) if known["persona"] else None
            case = Case(**known | {"seed": Seed(**known["seed"]), "persona": persona, "calls": calls})
            if case.status not in ("accepted", "rejected"):
                raise ValueError(f"status {case.status!r}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"no pinned example: {error}",
                where=str(path),
                remedy="pin it again in `understudy traces`, or remove it",
            ) from error
        yield path, case
