"""The viewer's pages and their addresses."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp

from understudy.corpus import RunFolder
from understudy.corpus.accounting import spent
from understudy.corpus.cases import HOME, pin
from understudy.corpus.reviews import LABELS, Review, Reviews
from understudy.errors import RunFolderError, UnderstudyError, UserError
from understudy.nouns import Version
from understudy.sms import OpenAISM, SMSpec
from understudy.traces.charts import scatter
from understudy.traces.compare import compare
from understudy.traces.filters import Filter
from understudy.traces.flow import flows
from understudy.traces.story import story
from understudy.traces.summary import Summary
from understudy.traces.viewer import diffs, people, requests, tables
from understudy.traces.viewer.flowchart import chart
from understudy.traces.viewer.guard import Guard
from understudy.traces.vm import Learned, learned

_POLL_S = 1.0
"""How often a run that goes on is looked at."""
_LONGEST = 1_000_000
"""Bytes of a review."""
_HERE = Path(__file__).parent


@dataclass(slots=True)
class Viewer:
    """What the pages are made from."""

    corpus: Path
    summary: Summary
    reviewer: str
    """Who reviews here."""
    beside: Summary | None
    """Of a second corpus, to compare with."""
    vm: Learned | None = None
    """What a VM made of the corpus."""
    trouble: str | None = None
    """Why the summaries could not be brought up to date."""
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """Of the corpus, and of the second one if there is one."""
        return (self.summary, self.beside) if self.beside else (self.summary,)

    def watch(self) -> None:
        """Bring the summaries up to date until the viewer ends."""
        while not self._stop.is_set():
            trouble = None
            for summary in self.summaries:
                try:
                    summary.catch_up()
                except Exception as error:  # shown on every page, and tried again: pages of what is known still work
                    trouble = f"{type(error).__name__}: {error}"
            self.trouble = trouble
            self._stop.wait(_POLL_S)

    def stop(self) -> None:
        """End `watch`."""
        self._stop.set()


def build_app(
    corpus: Path, port: int, token: str, reviewer: str, beside: Path | None = None, vm: Path | None = None
) -> ASGIApp:
    """The viewer of a corpus as an ASGI application behind its guard.

    Raises:
        RunFolderError: when a folder is no corpus, or no VM.
    """
    for folder in filter(None, (corpus, beside)):
        RunFolder.read(folder).close()
    known = learned(vm, corpus) if vm else None
    viewer = Viewer(corpus, Summary(corpus), reviewer, Summary(beside) if beside else None, known)
    pages = Jinja2Templates(env=_environment())
    # Nobody waits for the first page until templates, libraries and columns have been loaded.
    for template in pages.env.list_templates():
        pages.get_template(template)
    tables.facets(viewer.summary, Filter(words="a"))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = threading.Thread(target=viewer.watch, name="summaries")
        watching.start()
        try:
            yield
        finally:
            viewer.stop()
            watching.join()
            for summary in viewer.summaries:
                summary.close()

    def page(template: str, make: Callable[[Viewer, Request], dict[str, Any]]) -> Callable[..., Response]:
        def answer(request: Request, missing: Exception | None = None) -> Response:
            with RunFolder.read(viewer.corpus) as folder:
                told = {
                    "name": folder.recipe.name,
                    "folder": viewer.corpus.name,
                    "unread": [(one.corpus.name, now) for one in viewer.summaries if not (now := one.progress()).whole],
                    "trouble": viewer.trouble,
                    "compares": viewer.beside is not None,
                }
            try:
                return pages.TemplateResponse(
                    request, template, told | make(viewer, request), status_code=404 if missing else 200
                )
            except UnderstudyError as error:
                status = 400 if isinstance(error, UserError) else 500
                return pages.TemplateResponse(request, "error.html", told | {"error": str(error)}, status_code=status)

        return answer

    def posted(take: Callable[[Viewer, Request, bytes], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            try:
                return await run_in_threadpool(take, viewer, request, body)
            except UserError as error:
                return PlainTextResponse(f"{error}\n", 400)

        return answer

    app = Starlette(
        routes=[
            Route("/", page("run.html", run)),
            Route("/graph", page("graph.html", graph)),
            Route("/examples", page("examples.html", examples)),
            Route("/examples/{id}", page("example.html", example)),
            Route("/examples/{id}/review", posted(review), methods=["POST"]),
            Route("/examples/{id}/pin", posted(pinned), methods=["POST"]),
            Route("/personas", page("personas.html", personas)),
            Route("/judges", page("judges.html", judges)),
            Route("/cost", page("cost.html", cost)),
            Route("/compare", page("compare.html", beside_it)),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        lifespan=lifespan,
        exception_handlers={404: page("missing.html", lambda viewer, request: {})},
    )
    return Guard(app, port, token)


def run(viewer: Viewer, request: Request) -> dict[str, Any]:
    """How the run stands."""
    with RunFolder.read(viewer.corpus) as folder:
        ledger, recipe = folder.ledger, folder.recipe
        usage, busy = ledger.call_usage(), ledger.busy()
        waiting, _ = ledger.count_calls()
        seeds, traces = len(folder.seeds), flows(folder)
    counts = tables.counts(viewer.summary)
    (due,) = viewer.summary.rows("SELECT count(*) AS examples FROM chosen", Filter(review="due"))
    standing = Reviews(viewer.corpus).standing()
    used = {
        "tokens": sum(u.prompt_tokens + u.completion_tokens for u in usage),
        "calls": sum(u.calls for u in usage),
        "reused": sum(u.reused for u in usage),
        "money": sum(spent(recipe, usage, busy)),
        "busy_s": sum(busy.values()),
    }
    return {
        "recipe": recipe, "counts": counts, "seeds": seeds, "used": used, "waiting": waiting,
        "reviewed": len(standing), "due": due["examples"], "reasons": tables.reasons(viewer.summary),
        "flows": traces, "speeds": tables.speeds(viewer.summary),
    }  # fmt: skip


def graph(viewer: Viewer, request: Request) -> dict[str, Any]:
    """The graph with what went through it."""
    chosen = Filter.of(request.query_params)
    stages, ways = tables.stages(viewer.summary, chosen)
    return {"chosen": chosen, "stages": stages, "ways": ways, "chart": chart(stages, ways)}


def examples(viewer: Viewer, request: Request) -> dict[str, Any]:
    """A page of the table of examples."""
    chosen = Filter.of(request.query_params)
    after, before = _turn(request, "after"), _turn(request, "before")
    return {
        "chosen": chosen,
        "page": tables.page(viewer.summary, chosen, after, before),
        "facets": tables.facets(viewer.summary, chosen),
        "shown": tables.SHOWN,
        "size": tables.PAGE,
    }


def example(viewer: Viewer, request: Request) -> dict[str, Any]:
    """One example as a story."""
    chosen = Filter.of(request.query_params)
    told = story(viewer.corpus, request.path_params["id"])
    with RunFolder.read(viewer.corpus) as folder:
        turn = folder.ledger.turn(told.example.id)
        _, split = folder.seeds[turn % len(folder.seeds)]
        case = folder.recipe.folder / HOME / f"{told.example.id[:12]}.json"
        engines = folder.recipe.engines
        twin = None
        if told.example.status == "duplicate" and told.example.parents:
            with suppress(RunFolderError):  # it may be of an earlier corpus
                twin, _ = folder.find(told.example.parents[0])
    steps = [
        {
            "step": step,
            "task": step.call.messages[-1]["content"].rpartition("\n\n")[2],
            "curl": requests.curl(step.call, _address(engines.get(step.call.sm))),
            "python": requests.python(step.call, _address(engines.get(step.call.sm))),
        }
        for step in told.steps
    ]
    before, after = tables.neighbours(viewer.summary, chosen, turn)
    return {
        "chosen": chosen, "told": told, "example": told.example, "steps": steps, "turn": turn, "twin": twin,
        "split": split, "vm": viewer.vm, "score": viewer.vm and viewer.vm.found.get(told.example.id),
        "case": case, "pinned": case.exists(), "reviewer": viewer.reviewer,
        "reviews": [one for one in Reviews(viewer.corpus) if one.example == told.example.id],
        "before": before, "after": after, "versions": _changes(told.example.versions), "diff": diffs.words,
    }  # fmt: skip


def review(viewer: Viewer, request: Request, body: bytes) -> Response:
    """Write down what the reviewer said, and go on to the next example."""
    said = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    label = said.get("label", "")
    if label not in LABELS or len(body) > _LONGEST:
        return PlainTextResponse(f"Expected a label ({', '.join(LABELS)}) and at most {_LONGEST:,} bytes.\n", 400)
    chosen = Filter.of(request.query_params)
    with RunFolder.read(viewer.corpus) as folder:
        example, _ = folder.find(request.path_params["id"])
        turn = folder.ledger.turn(example.id)
    # Before it is written down: afterwards it may be none of the chosen any more.
    _, after = tables.neighbours(viewer.summary, chosen, turn)
    answer = said.get("answer", "").replace("\r\n", "\n") if label == "edit" else None
    Reviews(viewer.corpus).add(
        Review(example.id, viewer.reviewer, label, time.time(), said.get("note", "").strip(), answer)
    )
    there = example.id if label == "none" or after is None else after
    return RedirectResponse(f"/examples/{there}?{chosen.query()}", 303)


def pinned(viewer: Viewer, request: Request, body: bytes) -> Response:
    """Pin an example as a case beside the corpus's recipe, and show it again."""
    with RunFolder.read(viewer.corpus) as folder:
        example, _ = folder.find(request.path_params["id"])
        pin(folder, example.id, Reviews(viewer.corpus).standing().get(example.id))
    return RedirectResponse(f"/examples/{example.id}?{Filter.of(request.query_params).query()}", 303)


def _address(engine: SMSpec | None) -> str:
    """Where an SM is served; of one that runs in the process, where `vllm serve` would."""
    return engine.served[0].base_url if isinstance(engine, OpenAISM) else "http://localhost:8000/v1"


def _changes(versions: Sequence[Version]) -> list[dict[str, Any]]:
    """Each version with what changed since the one that it was made from: the last that was kept."""
    out: list[dict[str, Any]] = []
    kept: Version | None = None
    for version in versions:
        told: dict[str, Any] = {"version": version, "instruction": None, "answer": None}
        if kept is not None and version.round > 0:
            told["instruction"] = diffs.words(kept.instruction, version.instruction)
            told["answer"] = diffs.words(kept.answer, version.answer)
        out.append(told)
        if kept is None or version.outcome.startswith("kept"):
            kept = version
    return out


def personas(viewer: Viewer, request: Request) -> dict[str, Any]:
    """What became of each persona's drafts, and where personas stand to one another."""
    found = tables.personas(viewer.summary)
    with RunFolder.read(viewer.corpus) as folder:
        points, drafts = people.mapped(folder, viewer.summary, found)
    title = f"{len(points)} personas, by the first {drafts:,} drafts that passed the gate"
    return {"personas": found, "map": scatter(points, title) if points else None, "mapped": drafts}


def judges(viewer: Viewer, request: Request) -> dict[str, Any]:
    """What verifiers said, and where judges disagree."""
    return {"verifiers": tables.verifiers(viewer.summary), "pairs": tables.agreements(viewer.summary)}


def cost(viewer: Viewer, request: Request) -> dict[str, Any]:
    """What was paid for what."""
    with RunFolder.read(viewer.corpus) as folder:
        busy, usage = folder.ledger.busy(), folder.ledger.call_usage()
        money = sum(spent(folder.recipe, usage, busy))
    return {
        "agents": tables.agents(viewer.summary), "counts": tables.counts(viewer.summary),
        "skills": tables.yields(viewer.summary, "skill"), "leaves": tables.yields(viewer.summary, "leaf"),
        "money": money, "used": sum(u.prompt_tokens + u.completion_tokens for u in usage),
    }  # fmt: skip


def beside_it(viewer: Viewer, request: Request) -> dict[str, Any]:
    """Two runs side by side."""
    if viewer.beside is None:
        raise UserError("no second corpus was given", remedy="understudy traces CORPUS --beside OTHER")
    since = _turn(request, "after")
    compared = compare(viewer.beside, viewer.summary, -1 if since is None else since)
    return {"compared": compared, "other": viewer.beside.corpus.name}


def _turn(request: Request, name: str) -> int | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise UserError(f"{name}: {value!r}", expected="the number of a turn") from None


def _environment() -> Environment:
    """Templates in which every value is escaped and none may be missing."""
    pages = Environment(
        loader=PackageLoader("understudy.traces.viewer", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["whole"] = lambda number: f"{number:,.0f}"
    pages.filters["share"] = lambda part, of: f"{part / of:.0%}" if of else "–"
    pages.filters["clock"] = _clock
    pages.tests["text"] = lambda value: isinstance(value, str)
    return pages


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
