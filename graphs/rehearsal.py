"""How much of a run lies in earlier corpora already: the graph is walked with their calls alone, and no SM is asked.

A draft goes on until a call is wanted that is not at hand. What comes after it cannot be known, only guessed: as many
calls as the same draft took in an earlier corpus, or as drafts took there on average, less those that it found.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.corpus import RunFolder
from understudy.corpus.ledger import STATUSES
from understudy.corpus.rows import example_row
from understudy.corpus.scratch import Database
from understudy.corpus.table_sample import resolved
from understudy.dedup import Gate, PairIndex
from understudy.errors import RunFolderError
from understudy.graphs.alike import Alike
from understudy.graphs.arms import Arms
from understudy.graphs.indexes import fill
from understudy.graphs.plan import Plan
from understudy.graphs.quotas import Quotas
from understudy.graphs.replay import Absent, AtHand, Missing, Naming
from understudy.graphs.runner import matching, surroundings
from understudy.graphs.state import Context
from understudy.graphs.work import corpus
from understudy.models import SM, open_embedder
from understudy.models.caller import Budget
from understudy.personas import load_set
from understudy.recipe import Recipe
from understudy.sms import unserved

MOST = 1000
"""Drafts that are tried; a longer run is reckoned from these."""


@dataclass(slots=True)
class Rehearsal:
    """What was found, of as many drafts as were tried."""

    tried: int = 0
    needed: int = 0
    """Drafts that the whole run is expected to take."""
    whole: int = 0
    """Drafts that need no new call."""
    at_hand: int = 0
    """Calls that can be taken over."""
    missing: Counter[str] = field(default_factory=Counter)
    """By agent, drafts that its call is the first to be missing from."""
    new_calls: float = 0.0
    """Calls to be made."""
    beyond: int = 0
    """Drafts that want a call after all those they took before: of these, one is counted, and there may be more."""
    tokens_a_call: float = 0.0
    """Of the earlier corpora."""

    @property
    def scale(self) -> float:
        """The whole run over what was tried."""
        return self.needed / self.tried if self.tried else 0.0


def rehearse(recipe: Recipe, reuse: Sequence[Path]) -> Rehearsal:
    """Walk the first drafts of a run through earlier corpora.

    Raises:
        RunFolderError: when one of them is no corpus, or does not say which SMs made it.
    """
    return asyncio.run(_rehearse(recipe, reuse))


async def _rehearse(recipe: Recipe, reuse: Sequence[Path]) -> Rehearsal:
    earlier = [RunFolder.read(path) for path in reuse]
    try:
        # A folder with the seeds in plan order, as the run itself would have them.
        with (
            tempfile.TemporaryDirectory(prefix="understudy-") as name,
            RunFolder.start(Path(name) / "out", recipe, "rehearsal") as folder,
        ):
            return await _walk(recipe, folder, earlier)
    finally:
        for one in earlier:
            one.close()


async def _walk(recipe: Recipe, folder: RunFolder, earlier: Sequence[RunFolder]) -> Rehearsal:
    recipe = resolved(recipe)
    work = corpus(recipe)
    personas = load_set(recipe.personas.set, recipe.folder) if recipe.personas.set else None
    embedder = open_embedder(recipe.dedup.embedder, recipe.folder) if recipe.dedup.embedding is not None else None
    admitted = PairIndex(recipe.dedup.minhash, recipe.dedup.embedding, embedder)
    for _ in fill(admitted, "gate", iter(()), recipe, embedder):
        pass
    at_hand = AtHand(earlier)
    caller = Naming(_engines(recipe, earlier), at_hand, Budget(), recipe.seed)
    gate = Gate(admitted, 0)
    context = Context(
        recipe, work.catalog, matching(recipe, personas, embedder), caller, gate, work.compared,
        like=Alike(folder.other_seeds()).of, table=work.table, **surroundings(recipe, folder, embedder),
    )  # fmt: skip
    graph, seeds = work.build(), len(folder.seeds)
    plan, arms = Plan(work.catalog, recipe), Arms(recipe) if recipe.allocate else None
    labels = Quotas(recipe.targets, recipe.accept, recipe.seed) if recipe.targets else None
    turns = seeds * recipe.draws_per_seed
    before, said = _drafts(earlier), Rehearsal(tokens_a_call=_tokens_a_call(earlier))
    accepted = 0.0
    while said.tried < min(turns, MOST) and accepted < recipe.accept:
        draw, position = divmod(said.tried, seeds)
        seed, _ = folder.seeds[position]
        state = plan.begin(seed, draw, said.tried)
        if arms:
            state["arm"] = arms.of(said.tried)
        if labels:
            state = labels.begin(state)
        row: dict[str, Any] = {"status": "failed", "messages": [], "calls": [], "path": state.get("path", ())}
        found_before = at_hand.found
        try:
            out = await graph.ainvoke(state, context=context, config={"recursion_limit": 200}, version="v2")
            said.whole += 1
            surplus = labels is not None and labels.full(out.value["example"].path)
            accepted += out.value["example"].status == "accepted" and not surplus
            row = example_row(out.value["example"], seed, 0)
        except Missing as missing:
            calls, chance = before.of(seed.id, draw)
            said.missing[missing.agent] += 1
            left = calls - (at_hand.found - found_before)
            said.new_calls += max(1.0, left)
            said.beyond += left < 1
            accepted += chance
        if arms:
            arms.settle(row, seed)
        if labels:
            labels.settle(row["path"], row["status"])
        gate.leave(said.tried)
        gate.take_row(said.tried)
        said.tried += 1
    said.at_hand = at_hand.found
    said.needed = said.tried
    if accepted < recipe.accept:
        said.needed = round(min(turns, said.tried * recipe.accept / accepted)) if accepted else turns
    return said


def _engines(recipe: Recipe, earlier: Sequence[RunFolder]) -> dict[str, SM]:
    """Stand-ins for the recipe's SMs: those of earlier corpora where the section is the same."""
    known: dict[str, dict[str, Any]] = {}
    for folder in earlier:
        said = json.loads(folder.ledger.facts().get("engines", "{}"))
        if not said:
            raise RunFolderError(
                "does not say which SMs made it",
                where=str(folder.path),
                remedy="it is of an earlier version: resume it once, with the recipe that made it",
            )
        for name, spec in recipe.engines.items():
            theirs = folder.recipe.engines.get(name)
            if theirs is not None and unserved(theirs) == unserved(spec):
                known |= {key: value for key, value in said.items() if key.split("/")[0] == name}
    unknown = {"identity": "not known yet", "schema": True, "regex": True}
    return {name: Absent(engines=known if name in known else {name: unknown}, name=name) for name in recipe.engines}


class _Before:
    """How drafts fared in earlier corpora."""

    def __init__(self) -> None:
        self._db = Database("CREATE TABLE drafts(seed, draw, calls, accepted, PRIMARY KEY(seed, draw)) WITHOUT ROWID")

    def enter(self, rows: Any) -> None:
        """Enter (seed, draw, calls, accepted); the first corpus that knows a draft is believed."""
        self._db.write("INSERT OR IGNORE INTO drafts VALUES (?, ?, ?, ?)", rows)

    def of(self, seed: str, draw: int) -> tuple[float, float]:
        """Calls that a draft took and its chance to be accepted: its own, or those of drafts on average."""
        own = "SELECT calls, accepted FROM drafts WHERE seed = ? AND draw = ?"
        for found in self._db.read(own, (seed, draw)):
            return found[0], found[1]
        ((calls, accepted),) = self._db.read("SELECT AVG(calls), AVG(accepted) FROM drafts")
        return calls or 0.0, accepted or 0.0


def _drafts(earlier: Sequence[RunFolder]) -> _Before:
    before = _Before()
    for folder in earlier:
        for status in STATUSES:
            rows = folder.rows(status, columns=["seed_id", "draw", "calls"])
            before.enter((row["seed_id"], row["draw"], len(row["calls"]), status == "accepted") for row in rows)
    return before


def _tokens_a_call(earlier: Sequence[RunFolder]) -> float:
    usage = [used for folder in earlier for used in folder.ledger.call_usage()]
    paid = sum(used.calls - used.reused for used in usage)
    return sum(used.prompt_tokens + used.completion_tokens for used in usage) / paid if paid else 0.0
