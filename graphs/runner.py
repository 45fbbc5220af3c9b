"""Driving the graph over many seeds: a bounded number of drafts in flight, committed in plan order.

The plan is a sequence of turns: the first draw of every seed, then the second of every seed, and so on. Drafts
start in that order and finish in any; they are settled in that order again, so what the corpus holds depends
on the recipe alone. The run ends when enough are accepted, the turns or the budget are used up, or on
Ctrl-C; a run that ended early is resumed by the same command, and its journaled calls cost nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.agents import Catalog, load_catalog
from understudy.corpus import Accounting, Journal, RunFolder, card
from understudy.corpus.readers import files
from understudy.dedup import Gate, PairIndex
from understudy.dedup.minhash import SCHEME
from understudy.evals import measures
from understudy.graphs.nodes import draft_key
from understudy.graphs.pipeline import build_graph
from understudy.graphs.state import Context, State
from understudy.models import SM, Embedder, open_embedder, open_sm
from understudy.models.caller import Budget, BudgetReached, Caller
from understudy.nouns import Example, Seed, Verdict, address
from understudy.personas import PersonaSet, load_set
from understudy.recipe import Recipe

# A shard's drafts are replayed from the journal after a crash; this bounds that work and the memory it takes.
SHARD_DRAFTS = 64
# What a draft is taken to cost until some have been finished.
_FIRST_GUESS_CALLS = 8
_FIRST_GUESS_TOKENS = 350
_LONGEST_PATH = 200  # LangGraph's step limit for one draft; the refine loop is bounded by the recipe


@dataclass(slots=True)
class Progress:
    """How far a run is, for a person to watch."""

    goal: int
    seeds: int
    counts: Counter[str] = field(default_factory=Counter)
    """Settled drafts by status."""
    in_flight: int = 0
    tokens: int = 0
    """SM tokens of the whole run, also of earlier sittings."""
    cost: float = 0.0
    """Money of the whole run, by the recipe's prices."""
    generated: int = 0
    """Tokens generated in this sitting."""
    started: float = field(default_factory=time.monotonic)
    accepted_before: int = 0
    """Accepted in earlier sittings."""

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens per second of this sitting."""
        return self.generated / max(1e-9, time.monotonic() - self.started)

    @property
    def eta_s(self) -> float | None:
        """Seconds to the goal at this sitting's rate; None while there is no rate."""
        done = self.counts["accepted"] - self.accepted_before
        left = self.goal - self.counts["accepted"]
        return left * (time.monotonic() - self.started) / done if done else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    folder: Path
    ended: str
    """`goal`, `turns`, `budget` or `interrupted`."""
    detail: str
    books: Accounting
    calls_made: int
    """Calls that went to the engine in this sitting."""
    measures: dict[str, float]


def run(recipe: Recipe, out: Path, watch: Callable[[Progress], None] | None = None) -> Outcome:
    """Generate a corpus; see `generate`. For callers without an event loop."""
    return asyncio.run(generate(recipe, out, watch))


async def generate(
    recipe: Recipe, out: Path, watch: Callable[[Progress], None] | None = None, *, sm: SM | None = None
) -> Outcome:
    """Run a recipe into a folder, or resume it there.

    Args:
        recipe: what to make.
        out: the corpus folder; made if it does not exist.
        watch: called after every finished draft, and once a second besides.
        sm: an SM to use instead of the recipe's.

    Raises:
        UserError: before any call, when something is missing or malformed.
        EngineError: when the SM fails for good; the run can be resumed.
        StorageError: when the disk is full; the run can be resumed.
    """
    catalog = load_catalog(recipe.agents, recipe.path(recipe.agents.folder) if recipe.agents.folder else None)
    personas = load_set(recipe.personas.set, recipe.folder) if recipe.personas.set else None
    for source in recipe.seeds:
        files(source, recipe.path(source.path))  # a wrong path is told before a model is loaded
    embedder = open_embedder(recipe.dedup.embedder, recipe.folder) if recipe.dedup.embedding is not None else None
    sm = sm or await open_sm(recipe)
    try:
        version = plan_version(recipe, catalog, personas, sm, embedder)
        with RunFolder.start(out, recipe, version, _index_scheme(embedder)) as folder:
            catalog.check(folder.ledger.kinds())
            outcome = await _Run(recipe, folder, catalog, personas, embedder, sm, watch).go()
            return dataclasses.replace(outcome, folder=out)  # as the caller wrote it
    finally:
        await sm.aclose()


def plan_version(
    recipe: Recipe, catalog: Catalog, personas: PersonaSet | None, sm: SM, embedder: Embedder | None
) -> str:
    """Hash of everything that determines the corpus; a folder is resumed only under the same one."""
    earlier = []
    for name in recipe.dedup.against:
        with RunFolder.read(recipe.path(name)) as folder:
            earlier.append(folder.digest)
    cast = (catalog.version, personas.version if personas else None, sm.identity)
    return address(recipe.plan_version, *cast, _index_scheme(embedder), earlier)


def _index_scheme(embedder: Embedder | None) -> str:
    """What makes stored signatures and embeddings comparable."""
    return f"{SCHEME} {embedder.name if embedder else 'none'}"


class _Run:
    """One sitting of a run."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        catalog: Catalog,
        personas: PersonaSet | None,
        embedder: Embedder | None,
        sm: SM,
        watch: Callable[[Progress], None] | None,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.journal = Journal(folder.ledger, folder.path)
        seeds = folder.ledger.count_seeds()
        first = self.settled = self.launched = folder.ledger.next_turn()
        self.turns = seeds * recipe.draws_per_seed
        limits = recipe.dedup
        admitted = PairIndex(limits.minhash, limits.embedding, embedder)
        self.accepted = PairIndex(limits.minhash, limits.embedding, embedder)
        self._restore(admitted, embedder)
        self.gate = Gate(admitted, first)
        self.caller = Caller(sm, self.journal, Budget(recipe.budget.tokens, recipe.budget.seconds), recipe.seed)
        self.caller.resume(folder.ledger.call_usage())
        self.context = Context(recipe, catalog, personas, self.caller, self.gate)
        self.graph = build_graph()
        self.progress = Progress(recipe.accept, seeds)
        self.progress.counts.update(dict(folder.ledger.tally("drafts", "status")))
        self.progress.accepted_before = self.progress.counts["accepted"]
        self.watch = watch
        self.finished: dict[int, tuple[Seed, str, State]] = {}
        self.shard: list[tuple[int, Example]] = []
        self.shard_seeds: dict[str, tuple[Seed, str]] = {}
        self.shard_index: list[dict[str, Any]] = []
        self.ended: tuple[str, str] | None = None
        self.room = asyncio.Event()
        self.names: dict[str, str] = {}
        """Example ids of this sitting by the names that the gate knows them by."""
        self.done = 0
        self.done_calls = 0

    def _restore(self, admitted: PairIndex, embedder: Embedder | None) -> None:
        """Fill the indexes with what earlier corpora and earlier sittings hold."""
        for name in self.recipe.dedup.against:
            with RunFolder.read(self.recipe.path(name)) as earlier:
                comparable = earlier.ledger.meta("index") == _index_scheme(embedder)
                for row in earlier.index_rows():
                    if row["stage"] == "final":
                        row["example"] = f"{name}/{row['example']}"
                        if not comparable:  # another embedder's vectors mean nothing here: made anew
                            row["signature"] = row["embedding"] = None
                        admitted.restore(row)
                        self.accepted.restore(row)
        for row in self.folder.index_rows():
            (admitted if row["stage"] == "gate" else self.accepted).restore(row)

    async def go(self) -> Outcome:
        """Work until the run ends, then close the books."""
        self._look_for_end()
        try:
            with _on_interrupt(self._interrupt):
                workers = [asyncio.create_task(self._work()) for _ in range(self.recipe.in_flight)]
                ticker = asyncio.create_task(self._tick())
                try:
                    await self._supervise(workers)
                finally:
                    for task in (*workers, ticker):
                        task.cancel()
                    await asyncio.gather(*workers, ticker, return_exceptions=True)
            await self._flush()
        finally:
            await self.journal.aclose()
        return self._close()

    async def _supervise(self, workers: list[asyncio.Task[None]]) -> None:
        """Wait for the end of the run; a worker's error is the run's error."""
        pending = set(workers)
        while pending and not self.ended:
            ending = asyncio.create_task(self._until_ended())
            done, _ = await asyncio.wait({*pending, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            for worker in done & pending:
                worker.result()
            pending -= done
        if not self.ended:
            self.ended = ("turns", f"all {self.turns} drafts of the plan were tried")

    async def _tick(self) -> None:
        """Show that work goes on while the first drafts take their minute."""
        while True:
            await asyncio.sleep(1)
            self._report()

    async def _until_ended(self) -> None:
        while not self.ended:
            self.room.clear()
            await self.room.wait()

    def _interrupt(self) -> None:
        self._end("interrupted", "as you asked; what was settled is committed")

    def _end(self, how: str, detail: str) -> None:
        if not self.ended:
            self.ended = (how, detail)
        self.room.set()

    def _look_for_end(self) -> None:
        if self.progress.counts["accepted"] >= self.recipe.accept:
            self._end("goal", f"{self.recipe.accept} examples are accepted")

    async def _work(self) -> None:
        """Take turns from the plan until it ends."""
        while not self.ended and self.launched < self.turns:
            # Finished drafts wait for the slowest one before them; this bounds how many may wait.
            if self.launched - self.settled >= 4 * self.recipe.in_flight:
                self.room.clear()
                await self.room.wait()
                continue
            if not self._wanted():
                self.room.clear()
                await self.room.wait()
                continue
            if not self._affordable():
                if not self.progress.in_flight:
                    self._end("budget", "what is left of the budget would not see another draft through")
                    return
                self.room.clear()
                await self.room.wait()
                continue
            turn = self.launched
            self.launched += 1
            draw, position = divmod(turn, self.progress.seeds)
            seed, split = await self.journal.run(self.folder.ledger.seed_at, position)
            self.progress.in_flight += 1
            try:
                state: State = {"seed": seed, "draw": draw, "turn": turn}
                done = await self.graph.ainvoke(
                    state, context=self.context, config={"recursion_limit": _LONGEST_PATH, "callbacks": []}
                )
            except BudgetReached as reached:
                self._end("budget", f"the budget of {reached} is used up")
                return
            finally:
                self.progress.in_flight -= 1
            self.done += 1
            self.done_calls += len(done["calls"])
            self.gate.leave(turn)
            self.finished[turn] = (seed, split, done)  # type: ignore[assignment]
            await self._settle()

    def _wanted(self) -> bool:
        """Whether the drafts under way are fewer than the goal can be expected to need."""
        counts = self.progress.counts
        rate = (counts["accepted"] + 1) / (counts.total() + 1)
        return self.launched - self.settled < (self.recipe.accept - counts["accepted"]) / rate

    def _affordable(self) -> bool:
        """Whether the token budget can be expected to see one more draft through."""
        budget = self.caller.budget
        if budget.tokens is None:
            return True
        a_call = budget.spent_tokens / self.caller.answered if self.caller.answered else _FIRST_GUESS_TOKENS
        a_draft = a_call * (self.done_calls / self.done if self.done else _FIRST_GUESS_CALLS)
        under_way = budget.spent_tokens - self.done * a_draft
        still_to_pay = max(0.0, self.progress.in_flight * a_draft - max(0.0, under_way))
        return budget.spent_tokens + still_to_pay + a_draft <= budget.tokens

    async def _settle(self) -> None:
        """Give every draft whose turn has come its place in the shard."""
        while self.settled in self.finished and not self.ended:
            turn = self.settled
            seed, split, state = self.finished.pop(turn)
            self.settled += 1
            example = self._name_twin(self._last_look(state))
            self.names[draft_key(state)] = example.id
            if row := self.gate.take_row(turn):
                self.shard_index.append({**row, "stage": "gate", "example": example.id})
            self.shard.append((turn, example))
            self.shard_seeds[seed.id] = (seed, split)
            self.progress.counts[example.status] += 1
            self._look_for_end()
            if len(self.shard) >= SHARD_DRAFTS:
                await self._flush()
        self.room.set()
        self._report()

    def _last_look(self, state: State) -> Example:
        """Refinement may have made a twin of an accepted example: the earlier one stays."""
        example = state["example"]
        if example.status != "accepted":
            return example
        match, row = self.accepted.offer(example.id, state["draft"].instruction)
        if match is None:
            self.shard_index.append({"stage": "final", **row})
            return example
        twin = Verdict(f"dedup/{match.by}", False, round(match.similarity, 6))
        return dataclasses.replace(
            example,
            status="duplicate",
            reason="same as another after refinement",
            parents=(match.key,),
            verdicts=(*example.verdicts, twin),
        )

    def _name_twin(self, example: Example) -> Example:
        """A duplicate names the example that stays; at the gate that one had no id yet."""
        if example.status != "duplicate":
            return example
        *verdicts, twin = example.verdicts
        stays = self.names.get(example.parents[0], example.parents[0])
        twin = dataclasses.replace(twin, evidence=f"like {stays}")
        return dataclasses.replace(example, parents=(stays,), verdicts=(*verdicts, twin))

    async def _flush(self) -> None:
        """Commit the shard in hand."""
        if not self.shard:
            return
        shard, seeds, index = self.shard, self.shard_seeds, self.shard_index
        self.shard, self.shard_seeds, self.shard_index = [], {}, []
        await asyncio.shield(self.journal.run(self.folder.commit, shard, seeds, index))

    def _report(self) -> None:
        if self.watch:
            self.progress.tokens = self.caller.budget.spent_tokens
            self.progress.generated = self.caller.generated_tokens
            prices = self.recipe.sm
            spent = self.caller.prompt_total * prices.price_in + self.caller.completion_total * prices.price_out
            self.progress.cost = spent / 1e6
            self.watch(self.progress)

    def _close(self) -> Outcome:
        self._report()
        books = self.folder.accounting()
        found = measures(row["messages"] for row in self.folder.rows("accepted")) if books.drafts["accepted"] else {}
        card.write(self.folder, books, self.caller.sm.identity, found)
        how, detail = self.ended or ("turns", "")
        return Outcome(self.folder.path, how, detail, books, self.caller.made, found)


@contextmanager
def _on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the run cleanly; a second one acts at once."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM)

    def once() -> None:
        act()
        for number in caught:
            loop.remove_signal_handler(number)

    try:
        for number in caught:
            loop.add_signal_handler(number, once)
    except (ValueError, RuntimeError):  # not the main thread: whoever runs us handles signals
        pass
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
