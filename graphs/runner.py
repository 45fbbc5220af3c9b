"""Driving the graph over many seeds: a bounded number of drafts in flight, committed in plan order.

The plan is a sequence of turns: the first draw of every seed, then the second of every seed, and so on. Drafts
start in that order and finish in any; they are settled in that order again, so what the corpus holds depends
on the recipe alone. The run ends when enough are accepted, the turns or the budget are used up, or on
Ctrl-C; a run that ended early is resumed by the same command, and its journaled calls cost nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from understudy.corpus import Journal, RunFolder, rows
from understudy.corpus.readers import files
from understudy.corpus.table_sample import resolved
from understudy.dedup import Gate, PairIndex
from understudy.graphs.alike import Alike
from understudy.graphs.beside import Beside
from understudy.graphs.figures import figures
from understudy.graphs.forecast import Forecast, forecast
from understudy.graphs.indexes import fill, scheme
from understudy.graphs.interrupts import on_interrupt
from understudy.graphs.noising import likeness
from understudy.graphs.plan import Plan
from understudy.graphs.progress import Outcome, Progress
from understudy.graphs.quotas import FULL
from understudy.graphs.shards import SHARD_DRAFTS, Shards
from understudy.graphs.state import Context, State
from understudy.graphs.watching import Watch, refused_by_people
from understudy.graphs.work import Work, corpus
from understudy.models import SM, Embedder, close_sms, open_embedder, open_sms
from understudy.models.caller import Budget, BudgetReached, Caller
from understudy.models.frozen import check_unseen
from understudy.nouns import Example, Seed, Verdict, address
from understudy.personas import PersonaSet, load_set
from understudy.personas.matching import Matching
from understudy.recipe import Recipe
from understudy.sms import MAIN

T = TypeVar("T")
# Drafts that a forecast rests on.
PILOT = 48
# What a draft is taken to cost until some have been finished.
_FIRST_GUESS_CALLS = 8
_FIRST_GUESS_TOKENS = 350
# Shards that wait for a slow disk before no more drafts are begun.
_MOST_UNWRITTEN = 4
# Slow engines with one slot still want a few drafts: each waits now and then for the gate or the journal.
_LEAST_IN_FLIGHT = 8
# Bytes of disk that a run leaves free: another program, or the end of this one, may need them.
LEAST_FREE = 64 << 20
_LONGEST_PATH = 200  # LangGraph's step limit for one draft; the refine loop is bounded by the recipe


def run(
    recipe: Recipe,
    out: Path,
    watch: Callable[[Progress], None] | None = None,
    ask: Callable[[Forecast], bool] | None = None,
    reuse: Sequence[Path] = (),
    work: Work | None = None,
) -> Outcome:
    """Generate a corpus; see `generate`. For callers without an event loop."""
    return asyncio.run(generate(recipe, out, watch, ask=ask, reuse=reuse, work=work))


async def generate(
    recipe: Recipe,
    out: Path,
    watch: Callable[[Progress], None] | None = None,
    *,
    sm: SM | None = None,
    ask: Callable[[Forecast], bool] | None = None,
    reuse: Sequence[Path] = (),
    work: Work | None = None,
) -> Outcome:
    """Run a recipe into a folder, or resume it there.

    Args:
        recipe: what to make.
        out: the corpus folder; made if it does not exist.
        watch: called after every finished draft, and once a second besides.
        sm: an SM to use instead of the recipe's.
        ask: shown a forecast after the first `PILOT` drafts, in a thread of its own; no further one is begun until it
            says yes. A run that was asked for before, with the same goal, is not asked for again.
        reuse: corpora whose calls are taken over where this run would make the same ones. What it makes does not change
            by that, only what it costs.
        work: what is made of the recipe; default: a corpus.

    Raises:
        UserError: before any call, when something is missing or malformed.
        EngineError: when the SM fails for good; the run can be resumed.
        StorageError: when the disk is full; the run can be resumed.
    """
    recipe = resolved(recipe)
    work = work or corpus(recipe)
    personas = load_set(recipe.personas.set, recipe.folder) if recipe.personas.set else None
    sources = recipe.seeds if work.seeds is None else ()
    # A wrong path is told before a model is loaded.
    check_unseen(recipe, [file for one in sources for file in files(one, recipe.path(one.path))], sm is not None)
    embedder = open_embedder(recipe.dedup.embedder, recipe.folder) if recipe.dedup.embedding is not None else None
    work.catalog.check_voices(recipe)
    with ExitStack() as opened:
        earlier = [opened.enter_context(RunFolder.read(path)) for path in reuse]
        sms = await open_sms(recipe, sm)
        try:
            _collect_seldom()
            version = plan_version(recipe, work, personas, sms, embedder)
            facts = {"index": scheme(embedder), "engines": json.dumps(engines(recipe, sms))}
            folder = opened.enter_context(RunFolder.start(out, recipe, version, facts, work.seeds))
            work.catalog.check(folder.kinds, work.needed)
            for agent in work.catalog.of("instruct", "persona") if "persona" in folder.kinds else ():
                agent.prompt.shown(recipe.personas.shape)  # an agent without examples is told before the first call
            outcome = await _Run(recipe, folder, work, personas, embedder, sms, earlier, watch, ask).go()
            return dataclasses.replace(outcome, folder=out)  # as the caller wrote it
        finally:
            await close_sms(sms)


def matching(recipe: Recipe, personas: PersonaSet | None, embedder: Embedder | None) -> Matching | None:
    """How personas are drawn from the recipe's set, if it has one.

    Raises:
        ModelError: when relevance is asked for and its embedder is missing.
    """
    if personas is None:
        return None
    if recipe.personas.draw == "relevance" and embedder is None:
        embedder = open_embedder(recipe.dedup.embedder, recipe.folder)
    return Matching(personas, recipe.personas.draw, recipe.seed, embedder)


def surroundings(recipe: Recipe, folder: RunFolder, embedder: Embedder | None) -> dict[str, Any]:
    """What noisers are shown and weighed by, as fields of a `Context`; none without the section `noise`."""
    if recipe.noise is None:
        return {}
    return {
        "beside": Beside(folder.other_seeds(), recipe.noise.window).of,
        "likeness": likeness(recipe, embedder),
    }


def _collect_seldom() -> None:
    """Let the garbage collector look less often.

    LangGraph makes and drops some ten thousand small objects a draft; looking through all of those under way after
    each 700 took an eighth of a run's CPU.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def engines(recipe: Recipe, sms: dict[str, SM]) -> dict[str, dict[str, Any]]:
    """What the keys of calls say of the SMs that are heard, by name and adapter: `sm` or `sm/adapter`."""
    heard = {(voice.sm, voice.adapter) for voices in recipe.voices.values() for voice in voices}
    found = {}
    for name, adapter in sorted({*heard, *((name, None) for name in sms)}, key=str):
        sm = sms[name].adapted(adapter) if adapter else sms[name]
        said = {"identity": sm.identity, "schema": sm.capabilities.schema, "regex": sm.capabilities.regex}
        found[f"{name}/{adapter}" if adapter else name] = said
    return found


def plan_version(
    recipe: Recipe, work: Work, personas: PersonaSet | None, sms: dict[str, SM], embedder: Embedder | None
) -> str:
    """Hash of everything that determines the corpus; a folder is resumed only under the same one."""
    earlier = []
    for name in recipe.dedup.against:
        with RunFolder.read(recipe.path(name)) as folder:
            earlier.append(folder.digest)
    # A voice whose adapter nobody has is an error here, before anything is written.
    heard = [
        (speaker, (sms[voice.sm].adapted(voice.adapter) if voice.adapter else sms[voice.sm]).identity)
        for speaker, voices in recipe.voices.items()
        for voice in voices
    ]
    cast = (work.catalog.version, personas.version if personas else None, sms[MAIN].identity, heard)
    return address(recipe.plan_version, *cast, scheme(embedder), earlier, *work.version)


class _Run:
    """One sitting of a run."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        work: Work,
        personas: PersonaSet | None,
        embedder: Embedder | None,
        sms: dict[str, SM],
        earlier: Sequence[RunFolder],
        watch: Callable[[Progress], None] | None,
        ask: Callable[[Forecast], bool] | None,
    ) -> None:
        self.recipe = recipe
        self.work = work
        self.folder = folder
        self.journal = Journal(folder.ledger, folder.path, earlier)
        seeds = len(folder.seeds)
        first = self.settled = self.launched = folder.ledger.next_turn()
        self.turns = seeds * recipe.draws_per_seed
        limits = recipe.dedup
        admitted = PairIndex(limits.minhash, limits.embedding, embedder)
        self.accepted = PairIndex(limits.minhash, limits.embedding, embedder)
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="files")
        # The first calls are made meanwhile: what passes the gate waits for the one, what is settled for the other.
        steps = [
            fill(index, stage, folder.index(), recipe, embedder, work.known)
            for index, stage in ((admitted, "gate"), (self.accepted, "final"))
        ]
        self.gate_filled = asyncio.create_task(self._fill(steps[0]))
        self.filled = asyncio.create_task(self._fill(steps[1], self.gate_filled))
        self.gate = Gate(admitted, first, self.gate_filled)
        budget = Budget(recipe.budget.tokens, recipe.budget.seconds, recipe.budget.money)
        self.caller = Caller(sms, self.journal, budget, recipe.seed, recipe.engines)
        self.caller.resume(folder.ledger.call_usage(), folder.ledger.busy())
        self.context = Context(
            recipe, work.catalog, matching(recipe, personas, embedder), self.caller, self.gate, work.compared,
            lambda turn: folder.ledger.status(turn) if turn < first else None,
            Alike(folder.other_seeds()).of, work.table, **surroundings(recipe, folder, embedder),
        )  # fmt: skip
        self.plan = Plan(work.catalog, recipe) if work.plans else None
        self.learned = Watch(recipe, folder)
        self.graph = work.build()
        self.goal = recipe.accept + len(refused_by_people(folder))
        self.progress = Progress(self.goal, seeds)
        self.progress.counts.update(folder.ledger.drafts_by_status())
        self.progress.accepted_before = self.progress.counts["accepted"]
        self.watch = watch
        self.ask = None if ask is None or self._has_consent() else ask
        self.free = 0
        """Drafts before the first that an earlier corpus did not pay for: no pilot of what is to come."""
        if self.ask and earlier:
            self.free = sum(1 for _ in takewhile(lambda cost: not cost[1], folder.ledger.costs()))
        self.earlier = earlier
        self.finished: dict[int, tuple[Seed, str, State]] = {}
        self.shards = Shards(folder, self.journal, self.thread, self.filled.done, self._note, self._written)
        self.ended: tuple[str, str] | None = None
        self.error: BaseException | None = None
        self.changed = asyncio.Event()
        self.running: set[asyncio.Task[None]] = set()
        self.ahead: dict[int, tuple[Seed, str]] = {}
        """Seeds read before their turn, by position."""
        self.done = 0
        self.done_calls = 0

    async def _fill(self, steps: Iterator[None], before: asyncio.Task[None] | None = None) -> None:
        """Fill an index; it must not be asked before."""
        if before is not None:
            await before
        try:
            while not self.ended and await self._aside(next, steps, self) is not self:
                pass
        except Exception as error:
            self.error = self.error or error
            raise
        finally:
            self.changed.set()

    async def _aside(self, work: Callable[..., T], *args: object) -> T:
        """Do long work with files on a thread of its own: the memory that Arrow keeps for each thread adds up."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *args)

    async def go(self) -> Outcome:
        """Work until the run ends, then close the books."""
        self._look_for_end()
        try:
            with on_interrupt(self._interrupt):
                ticker = asyncio.create_task(self._tick())
                try:
                    await self._drive()
                finally:
                    under_way = (*self.running, ticker, self.gate_filled, self.filled)
                    for task in under_way:
                        task.cancel()
                    await asyncio.gather(*under_way, return_exceptions=True)
            await self.shards.flush()
            await self._note()
        finally:
            self.thread.shutdown(wait=False, cancel_futures=True)
            await self.journal.aclose()
        return self._close()

    async def _drive(self) -> None:
        """Keep as many drafts under way as the engines can take; woken only when something has changed."""
        while not self.ended:
            if self.ask and self.settled - self.free >= PILOT:
                await self._consult(self.ask)
            while self._may_start():
                await self._start()
            # With nothing under way, and not held up by the disk or an index, no draft can be begun any more.
            held_up = self.shards.unwritten >= _MOST_UNWRITTEN or self.settled in self.finished
            if not self.running and not held_up and not self.ended:
                if self.launched < self.turns:
                    self._end("budget", "what is left of the budget would not see another draft through")
                else:
                    self._end("turns", f"all {self.turns} drafts of the plan were tried")
                return
            await self.changed.wait()
            self.changed.clear()
            if self.error:
                raise self.error
            self._settle()

    def _has_consent(self) -> bool:
        """Whether the user agreed to as many accepted examples in an earlier sitting."""
        told = self.folder.ledger.facts().get("forecast")
        return told is not None and json.loads(told)["accept"] >= self.goal

    async def _consult(self, ask: Callable[[Forecast], bool]) -> None:
        """Show what the run will take, and go on if that is welcome."""
        await self.shards.flush()
        costs = await self.journal.run(self.folder.ledger.costs)
        told = forecast(
            costs[self.free :],
            self.goal,
            self.turns,
            spent_tokens=self.caller.budget.spent_tokens,
            spent_money=self.caller.spent_money,
            seconds=time.monotonic() - self.progress.started,
            free=(self.free, sum(good for good, _ in costs[: self.free])),
            seed=self.recipe.seed,
        )
        self.ask = None
        if await asyncio.to_thread(ask, told):
            await self.journal.run(partial(self.folder.ledger.set_meta, forecast=json.dumps(told.as_dict())))
        else:
            self._end("interrupted", "you did not agree to the forecast; what was settled is committed")

    async def _tick(self) -> None:
        """Show that work goes on while the first drafts take their minute, and stop before the disk is full."""
        while True:
            await asyncio.sleep(1)
            self._report()
            free = shutil.disk_usage(self.folder.path).free
            if free < LEAST_FREE:
                self._end("disk", f"{free >> 20:,} MiB are free; a run leaves the last {LEAST_FREE >> 20:,} alone")

    def _interrupt(self) -> None:
        self._end("interrupted", "as you asked; what was settled is committed")

    def _end(self, how: str, detail: str) -> None:
        if not self.ended:
            self.ended = (how, detail)
        self.changed.set()

    def _look_for_end(self) -> None:
        if self.progress.counts["accepted"] >= self.goal:
            self._end("goal", f"{self.goal} examples are accepted")

    def _may_start(self) -> bool:
        """Whether one more draft is to be begun now: those under way go first, so memory stays flat."""
        most = self.recipe.in_flight or max(
            _LEAST_IN_FLIGHT, 2 * sum(sm.capabilities.slots for sm in self.caller.sms.values())
        )
        return (
            not self.ended
            and self.launched < (self.turns if self.ask is None else min(self.turns, self.free + PILOT))
            and len(self.running) < most
            # Finished drafts wait for the slowest one before them; this bounds how many may wait.
            and self.launched - self.settled < 4 * most
            and self.shards.unwritten < _MOST_UNWRITTEN
            and self._wanted()
            and self._affordable()
            and self.learned.ready(self.launched)
        )

    async def _start(self) -> None:
        turn = self.launched
        self.launched += 1
        draw, position = divmod(turn, self.progress.seeds)
        if position not in self.ahead:
            found = await self.journal.run(self.folder.seeds.some, position, SHARD_DRAFTS)
            self.ahead = dict(enumerate(found, position))
        seed, split = self.ahead.pop(position)
        state: State = {"seed": seed, "draw": draw, "turn": turn}
        if self.plan:
            state = self.plan.begin(seed, draw, turn)
        if self.learned.arms:
            state["arm"] = self.learned.arms.of(turn)
        if self.learned.labels:
            state = self.learned.labels.begin(state)
        task = asyncio.create_task(self._draft(state, split))
        self.running.add(task)
        task.add_done_callback(self._done)

    async def _draft(self, state: State, split: str) -> None:
        """One draft through the graph."""
        try:
            out = await self.graph.ainvoke(
                state, context=self.context, config={"recursion_limit": _LONGEST_PATH, "callbacks": []}, version="v2"
            )
        except BudgetReached as reached:
            self._end("budget", f"the budget of {reached} is used up")
            return
        done = out.value
        self.done += 1
        self.done_calls += len(done["calls"])
        self.gate.leave(state["turn"])
        self.finished[state["turn"]] = (state["seed"], split, done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.error = self.error or error
        self.changed.set()

    def _wanted(self) -> bool:
        """Whether the drafts under way are fewer than the goal can be expected to need."""
        counts = self.progress.counts
        rate = (counts["accepted"] + 1) / (counts.total() + 1)
        return self.launched - self.settled < (self.goal - counts["accepted"]) / rate

    def _affordable(self) -> bool:
        """Whether the budget can be expected to see one more draft through."""
        budget = self.caller.budget
        tokens = budget.tokens is None or self._covers(budget.tokens, budget.spent_tokens, _FIRST_GUESS_TOKENS)
        return tokens and (budget.money is None or self._covers(budget.money, self.caller.spent_money, 0.0))

    def _covers(self, limit: float, spent: float, first_guess: float) -> bool:
        a_call = spent / self.caller.answered if self.caller.answered else first_guess
        a_draft = a_call * (self.done_calls / self.done if self.done else _FIRST_GUESS_CALLS)
        under_way = spent - self.done * a_draft
        still_to_pay = max(0.0, len(self.running) * a_draft - max(0.0, under_way))
        return spent + still_to_pay + a_draft <= limit

    def _settle(self) -> None:
        """Give every draft whose turn has come its place in the shard."""
        while self.settled in self.finished and self.filled.done() and not self.ended:
            turn = self.settled
            seed, split, state = self.finished.pop(turn)
            self.settled += 1
            paid = self.caller.first_paid
            if self.earlier and self.free == turn and (paid is None or turn < paid):
                self.free += 1
            row = self.gate.take_row(turn)
            example, added = self._last_look(state, row)
            if row:
                added.append({**row, "stage": "gate", "example": example.id})
            self.shards.add(turn, example, seed, split, added)
            self.progress.counts[example.status] += 1
            if self.learned.takes:
                self._learn(example, seed)
            self._look_for_end()
        self._report()

    def _learn(self, example: Example, seed: Seed) -> None:
        """Take in a settled draft; an alarm may end the run."""
        monitor = self.recipe.monitor
        for alarm in self.learned.settle(rows.example_row(example, seed, 0), seed):
            self.progress.alarms.append(f"batch {alarm.batch}: {alarm.told}")
            if monitor and monitor.stop:
                self._end("alarm", self.progress.alarms[-1])

    def _last_look(self, state: State, row: dict[str, Any] | None) -> tuple[Example, list[dict[str, Any]]]:
        """Refinement may have made a twin of an accepted example: the earlier one stays.

        `row` is what the draft added at the gate; it holds good for an instruction that was not refined.

        Returns the example with its final status, and what it added to the index of accepted ones.
        """
        example = state["example"]
        if example.status != "accepted":
            return example, []
        if self.learned.full(example.path):
            return dataclasses.replace(example, status="rejected", reason=FULL), []
        match, row = self.accepted.offer(example.id, self.work.compared(state), row)
        if match is None:
            return example, [{"stage": "final", **row}]
        twin = Verdict(f"dedup/{match.by}", False, round(match.similarity, 6))
        return dataclasses.replace(
            example,
            status="duplicate",
            reason="same as another after refinement",
            parents=(match.key,),
            verdicts=(*example.verdicts, twin),
        ), []

    def _written(self, error: BaseException | None) -> None:
        self.error = self.error or error
        self.changed.set()

    async def _note(self) -> None:
        """Keep what is known of the engines and stands in no call."""
        busy = {name: tally.worked_s for name, tally in self.caller.tallies.items()}
        await self.journal.run(self.folder.ledger.set_busy, busy)
        await self.journal.run(self.folder.ledger.add_flow, self._flow())

    def _flow(self) -> list[tuple[Any, ...]]:
        """What the endpoints' throttles have noted since they were last asked."""
        out: list[tuple[Any, ...]] = []
        for name, sm in self.caller.sms.items():
            if sm.throttle is not None:
                points, sm.throttle.trace = sm.throttle.trace, []
                out += [(p.at, name, p.endpoint, p.limit, p.in_flight, p.waiting, p.event) for p in points]
        return out

    def _report(self) -> None:
        if self.watch:
            self.progress.tokens = self.caller.budget.spent_tokens
            self.progress.generated = self.caller.generated_tokens
            self.progress.cost = self.caller.spent_money
            self.watch(self.progress)

    def _close(self) -> Outcome:
        self.progress.measuring = True
        self._report()
        books = self.folder.accounting()
        found = figures(self.folder, books)
        sms = ", ".join(sm.identity for sm in self.caller.sms.values())
        self.work.finish(self.folder, books, sms, found.measures, found.told)
        how, detail = self.ended or ("turns", "")
        return Outcome(self.folder.path, how, detail, books, self.caller.made, found.measures)
