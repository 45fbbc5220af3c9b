"""The recipe's `allocate:` and `monitor:` blocks: drafts go where they add most, and every batch is looked at."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from understudy.sections import Strict, misplaced

GROUPS = ("source", "skill", "role", "domain", "expertise", "place", "age")


class Filter(Strict):
    """Limits of the rules in place of those under `verify`; null: as they stand there."""

    min_words: int | None = Field(None, ge=0)
    """Fewest words in an answer."""
    max_words: int | None = Field(None, ge=1)
    """Most words in an answer."""
    min_grounding: float | None = Field(None, ge=0, le=1)
    """Least share of content words that occur in what a text was made from."""
    min_evidence: float | None = Field(None, ge=0, le=1)
    """Least share of an answer's content words that must stand near one another."""


class Allocate(Strict):
    """Drafts shared out among voices by what each adds: new word pairs, lately, for each call that it took."""

    of: str
    """Whose voices: a family of agents or one agent that has several under `voices`."""
    filters: tuple[Filter, ...] = ()
    """Profiles of the rules' limits to choose among as well: every voice is tried under each."""
    block: int = Field(32, ge=4, le=4096)
    """Drafts that are shared out at once, by all blocks but the one under way; at most two are under way."""
    least: float = Field(0.1, gt=0, le=1)
    """Share of a block that is spread evenly, so that what adds little now is tried again; 1 is an even plan."""


class Monitor(Strict):
    """A look at every batch of drafts: does the corpus grow less varied, or lopsided?"""

    batch: int = Field(200, ge=20)
    """Drafts in a batch, in plan order."""
    groups: tuple[str, ...] = ("source", "skill", "role", "domain", "place", "age")
    """Whose shares are watched: of sources, skills, and of what is known of personas."""
    labels: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field({})
    """Shares that short answers should have among those named here, such as `{positive: 0.5, negative: 0.5}`."""
    stop: bool = False
    """End the run at an alarm; the same command goes on after it."""

    @model_validator(mode="after")
    def _known(self) -> Monitor:
        for place, name in enumerate(self.groups):
            if name not in GROUPS:
                raise misplaced(("groups", place), name, f"one of: {', '.join(GROUPS)}")
        if self.labels and abs(sum(self.labels.values()) - 1) > 1e-6:
            raise misplaced(("labels",), f"{sum(self.labels.values()):g} in all", "shares that add up to 1")
        return self
