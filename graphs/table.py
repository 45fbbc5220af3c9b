"""What the nodes that write rows share: schema, sample, what goes together in it, and who must not be copied."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from understudy.columns import Record, Schema, targets
from understudy.corpus.base_rate import shares, weights
from understudy.corpus.table_sample import Sample, block_of, groups, read_sample
from understudy.corpus.table_schema import Wanted, cell, free_text, order
from understudy.evals.row_privacy import RowPrivacy
from understudy.evals.table_figures import table_figures
from understudy.graphs.copula import Classes
from understudy.nouns import address
from understudy.recipe import Recipe
from understudy.tables import Rows

# Drafts in which the quotas hold exactly.
_ROUND = 100


@dataclass(frozen=True)
class Questions:
    """How a VM is asked about a row, and what it is to say."""

    rows: Rows
    schema: Schema

    @cached_property
    def targets(self) -> list[str]:
        """The columns that a VM is to say."""
        return targets(self.schema)

    def question(self) -> str:
        """What is asked."""
        if not self.targets:
            return "Write one row."
        return self.rows.question.replace("{target}", " and ".join(self.targets))

    def fields(self, record: Record) -> dict[str, str]:
        """What is shown of a row: the columns that are known of it, without targets; nothing, where there are none."""
        return {
            name: cell(record[name], self.schema[name])
            for name in self.schema
            if self.targets and self.schema[name].role == "input" and record.get(name) is not None
        }

    def answer(self, record: Record) -> str:
        """The one target's value; of several, or of a table without any, JSON."""
        if len(self.targets) == 1:
            return cell(record[self.targets[0]], self.schema[self.targets[0]])
        said = {name: record[name] for name in self.targets or self.schema if name in record}
        return json.dumps(said, ensure_ascii=False)


@dataclass(frozen=True)
class Table(Questions):
    """One run's table."""

    sample: Sample
    seed: int

    @classmethod
    def of(cls, recipe: Recipe) -> Table:
        """Read the sample of a resolved recipe.

        Raises:
            SeedError, SchemaError: as `read_sample`.
        """
        rows, schema = block_of(recipe)
        return cls(rows, schema, read_sample(recipe), recipe.seed)

    @property
    def version(self) -> tuple[str, ...]:
        """Of the rows that are shown, held out and planted: with others, it is another run."""
        return (address(self.sample.rows, self.sample.holdout, self.sample.canaries),)

    @cached_property
    def names(self) -> list[str]:
        """The columns of a line."""
        return order(self.schema)

    @cached_property
    def texts(self) -> list[str]:
        """The columns of free text."""
        return free_text(self.schema)

    @cached_property
    def classes(self) -> Classes:
        """What goes together, by class."""
        return Classes(self.sample.rows, self.schema, self.names)

    @cached_property
    def privacy(self) -> RowPrivacy:
        """Looks at one row."""
        shown = self.sample.rows
        return RowPrivacy.of(shown, self.sample.holdout, self.schema, self.rows.privacy, self.sample.canaries)

    def sketch(self, rank: int, draw: int, rng: Random) -> Wanted:
        """What the row of a draft is to be, roughly: its targets, and some of its other columns as they go together.

        Args:
            rank: of its seed, in the order of reading; of every hundred in a row, the quotas hold exactly.
            draw: of its seed.
            rng: of the draft.
        """
        turn = rank + draw * groups(self.sample, self.rows)
        given = {name: self._quota(name, shares, turn) for name, shares in self.rows.quotas.items()}
        drawn = [name for name in self.names if name in self.targets or rng.random() < self.rows.sketch]
        return self.classes.of(given).rough(rng, drawn, self.schema) | given

    def _quota(self, name: str, shares: dict[str, float], turn: int) -> str:
        number, place = divmod(turn, _ROUND)
        edges, values = 0.0, []
        for value, share in shares.items():
            before, edges = edges, edges + share
            values += [value] * (round(edges * _ROUND) - round(before * _ROUND))
        Random(address(self.seed, "quota", name, number)).shuffle(values)  # noqa: S311
        return values[place]

    @cached_property
    def base_rate(self) -> dict[str, dict[str, float]]:
        """Of the targets with quotas, the true shares: as the recipe says, else those of all real rows."""
        real = (*self.sample.rows, *self.sample.holdout)
        return {name: dict(self.rows.base_rate.get(name) or shares(real, name)) for name in self.rows.quotas}

    def figures(self, rows: Sequence[Record], refused: Mapping[str, int]) -> dict[str, Any]:
        """How private, true and useful accepted rows are; see `table_figures`.

        Args:
            rows: all that were accepted; likeness is measured at the shares of the sample.
            refused: drafts that no longer count, by the check of privacy that refused them.
        """
        own = {name: shares(self.sample.rows, name) for name in self.rows.quotas}
        told = table_figures(
            rows, self.sample.rows, self.sample.holdout, self.schema, self.rows.privacy, self.rows.trend,
            self.sample.canaries, self.privacy, self.seed, weights(rows, own) if own else None,
        )  # fmt: skip
        told["privacy"]["refused"] = dict(refused)
        claim = self.sample.claim.told() if self.sample.claim else None
        return told | {"base_rate": self.base_rate, "written": len(rows), "claim": claim}
