"""`understudy report`: the books and the measures of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import AsJson, Corpus, clock, console, plain_table, visible

if TYPE_CHECKING:
    from rich.table import Table

    from understudy.corpus import RunFolder
    from understudy.corpus.accounting import Accounting, Cost
    from understudy.evals.contamination import Contamination
    from understudy.graphs.figures import Figures


def report(
    corpus: Corpus,
    as_json: AsJson = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Embed the instructions too, and measure how many are truly different.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="Show what an accepted example cost, by agent, sm, persona, seed, leaf, skill or reason.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many lines of --by to show.")] = 20,
    picture: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw how many requests each endpoint was given, into a .png, .svg or .pdf."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write all figures with their charts into one HTML file as well.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", help="Look for text of this benchmark in the accepted rows: a table, text file or folder."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="Of a benchmark's table, the column that counts; all without.")
    ] = None,
) -> None:
    """Show where every seed, draft and token of a corpus went."""
    import json

    from understudy.cli.table import show
    from understudy.corpus import RunFolder
    from understudy.graphs.figures import figures
    from understudy.models import open_embedder
    from understudy.traces.costs import outcomes
    from understudy.traces.flow import flows, plot

    if by is not None:
        _shares(corpus, by, limit, as_json)
        return
    with RunFolder.read(corpus) as folder:
        books = folder.accounting()
        embedder = open_embedder(folder.recipe.dedup.embedder, folder.recipe.folder) if coverage else None
        benchmarks = _benchmarks(against or [], columns or [])
        found = figures(folder, books, embedder, benchmarks)
        if (measured := _table(folder)) is not None:
            found.told["table"] = measured
        digest = folder.digest
        traces = flows(folder)
        versions = outcomes(folder)
        word = folder.word()
        touched = sum(row["id"] in word.standing for row in folder.rows(columns=["id"]))
        if html is not None:
            _write(html, folder, books, found, [path.name for path in against or []])
    if picture is not None:
        plot(traces, picture)
    if as_json:
        told: dict[str, object] = {"accounting": books.as_dict(), "measures": found.measures, "digest": digest}
        told["figures"] = found.told
        told["reviewed"] = {"n": touched, "of": books.drafts["accepted"], "to_be": folder.recipe.review}
        told["versions"] = [
            {"by": by_whom, "outcome": outcome, "count": count} for (by_whom, outcome), count in versions.most_common()
        ]
        typer.echo(json.dumps(told, indent=2))
        return
    screen = console()
    drafts = plain_table("", "seeds", "drafts", "SM tokens")
    for state, count in books.seeds.items():
        drafts.add_row(state, str(count), "", "")
    for status, count in books.drafts.items():
        drafts.add_row(status, "", str(count), f"{books.tokens_by_status.get(status, 0):,}")
    drafts.add_row("unfinished", "", "", f"{books.tokens_by_status['unfinished']:,}")
    screen.print(drafts)
    if books.reasons:
        why = plain_table("why drafts were not accepted", "drafts")
        for reason, count in sorted(books.reasons.items(), key=lambda item: -item[1]):
            why.add_row(reason, str(count))
        screen.print(why)
    if versions:
        became = plain_table("what became of versions", "by", "count")
        for (by_whom, outcome), count in versions.most_common(limit):
            became.add_row(visible(outcome), visible(by_whom), f"{count:,}")
        screen.print(became)
    screen.print(_costs("agent", books.agents))
    if len(books.sms) > 1:
        screen.print(_costs("SM", books.sms))
    for flow in traces:
        blocks, marks = flow.chart()
        screen.print(f"{flow.sm}: requests at once, at most {max(flow.limit)}, over {clock(flow.seconds[-1])}")
        screen.print(f"  {flow.endpoint}", style="dim", markup=False)
        screen.print(f"  {blocks}\n  {marks}", markup=False)
        for event, count in flow.troubles.most_common():
            times = "once" if count == 1 else f"{count} times"
            screen.print(f"  × {event}: the limit was cut {times}", markup=False)
    if found.measures and measured is None:  # cells are no prose
        diversity = plain_table("measure", "value")
        for name, value in found.measures.items():
            diversity.add_row(name, f"{value:.4g}")
        screen.print(diversity)
    if measured is not None:
        show(measured)
    if watched := found.told.get("monitor"):
        alarms = "1 alarm" if watched["sounded"] == 1 else f"{watched['sounded']} alarms"
        screen.print(f"{alarms} in {watched['batches']} batches of {watched['batch']} drafts")
        for one in watched["alarms"][:limit]:
            screen.print(f"  batch {one['batch']}: {visible(one['told'])}", markup=False)
    for of, of_what in (("labels", "which label a text has"), ("answers", "what the answer to a question is")):
        if (drawn := found.told.get(of)) is None:
            continue
        screen.print(_drawn_first(drawn, "label" if of == "labels" else "kind of answer"))
        if not drawn["votes"]:
            screen.print(f"[yellow]There was no round trip[/]: nobody but its writer said {of_what}.")
        elif not drawn["independent"]:
            screen.print(f"[yellow]The round trip was not independent[/]: one model wrote, and said {of_what}.")
    if accepted := books.drafts["accepted"]:
        money = f", {books.cost / accepted:.6f} in money" if books.cost else ""
        screen.print(f"{books.tokens / accepted:,.0f} SM tokens per accepted example{money}")
        if word.standing:
            screen.print(f"people have reviewed {touched:,} of them ({touched / accepted:.0%})")
    if met := found.told.get("contamination"):
        screen.print(
            f"{met['contaminated']} of {met['n']} accepted examples share {met['gram']} words in a row, or a whole "
            f"shorter text, with {', '.join(visible(path.name) for path in against or [])}",
            markup=False,
        )
        for one in met["rows"][:limit]:
            screen.print(f"  {one['id'][:12]}  {one['words']} words  {visible(one['benchmark'])}", markup=False)
    if html is not None:
        screen.print(f"The report is in {html}", markup=False)


def _drawn_first(told: dict[str, Any], of: str) -> Table:
    """What became of the drafts for each label, or kind of answer."""
    shown = plain_table(of, "wanted", "drafts", "accepted", "named it", "found again", "surplus")
    for one in told["values"]:
        shares = (one["share_before"], one["share_after"])
        before, after = ("" if share is None else f" ({share:.0%})" for share in shares)
        shown.add_row(
            visible(one["name"]), f"{one['quota']:.0%}", f"{one['drafts']:,}{before}", f"{one['accepted']:,}{after}",
            str(one["leaks"]), f"{one['rate']:.0%}" if one["rate"] is not None else "", str(one["surplus"]),
        )  # fmt: skip
    return shown


def _table(folder: RunFolder) -> dict[str, Any] | None:
    """What the run measured of its rows, when it ended; of other corpora, None."""
    import json

    if folder.recipe.rows is None:
        return None
    try:
        report = json.loads((folder.path / "report.json").read_text(encoding="utf-8"))
        return dict(report["figures"]["table"]) if report["figures"].get("table") else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _benchmarks(paths: list[Path], columns: list[str]) -> Contamination | None:
    from itertools import chain

    from understudy.corpus.benchmarks import items
    from understudy.errors import UserError
    from understudy.evals.contamination import Contamination

    if not paths:
        if columns:
            raise UserError("--column without a benchmark", expected="--against FILE --column NAME")
        return None
    return Contamination(chain.from_iterable(items(path, columns) for path in paths))


def _write(html: Path, folder: RunFolder, books: Accounting, found: Figures, against: list[str]) -> None:
    """The page: what the folder says of itself, the figures, and the map."""
    from understudy import __version__
    from understudy.traces.report import Place, write

    ids, places = found.space.places()
    texts = dict(zip(found.space.ids, found.space.texts, strict=True))
    kinds = {kind for kind, _ in found.groups.values()}
    skilled = len({skill for _, skill in found.groups.values()}) > 1 or len(kinds) < 2
    points = [
        Place(x, y, id, found.groups[id][1 if skilled else 0], texts[id])
        for id, (x, y) in zip(ids, places.tolist(), strict=True)
    ]
    about = {
        "name": folder.recipe.name, "license": folder.recipe.license, "digest": folder.digest, "version": __version__,
        "sm": ", ".join(folder.engines), "seeds": books.seeds, "statuses": books.drafts,
        "tokens": books.tokens_by_status, "mapped": len(points), "against": against,
    }  # fmt: skip
    write(html, about, found.told, points)


def _shares(corpus: Path, by: str, limit: int, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from understudy.agents import load_catalog
    from understudy.corpus import RunFolder
    from understudy.errors import UserError
    from understudy.traces.costs import GROUPINGS, shares

    if by not in GROUPINGS:
        raise UserError(f"--by {by}", expected=", ".join(GROUPINGS))
    with RunFolder.read(corpus) as folder:
        recipe, skills = folder.recipe, None
        if by in {"leaf", "skill"}:
            own = recipe.path(recipe.agents.folder) if recipe.agents.folder else None
            asked = load_catalog(recipe.agents, own).agents["instruct"]
            skills = {one.name: one.prompt.skill for one in asked if folder.kinds & set(one.prompt.kinds)}
        found = shares(folder, by, skills)
    if as_json:
        typer.echo(json.dumps([asdict(share) | {"per_accepted": share.per_accepted} for share in found]))
        return
    fates = by in {"leaf", "skill"}
    lost = ("rejected", "dup.", "failed") if fates else ("SM tokens",)
    table = plain_table(by, "drafts", "accepted", *lost, "tokens each" if fates else "tokens per accepted")
    for share in found[:limit]:
        each = "" if share.per_accepted is None else f"{share.per_accepted:,.0f}"
        drafts = "" if share.drafts is None else f"{share.drafts:,}"
        rest = (
            (share.accepted, share.rejected, share.duplicate, share.failed) if fates else (share.accepted, share.tokens)
        )
        shown = ["" for _ in rest] if fates and share.drafts is None else [f"{count:,}" for count in rest]
        if fates and share.drafts:
            shown[0] += f" {share.accepted / share.drafts:4.0%}"
        table.add_row(visible(share.name.removeprefix("instruct/")), drafts, *shown, each)
    console().print(table)
    if fates:
        drawn = [share for share in found if share.drafts is not None]
        reached = sum(share.accepted > 0 for share in drawn)
        left = sum(share.drafts == 0 for share in drawn)
        console().print(f"{reached} of {len(drawn)} have an accepted example, {left} have not been drawn yet.")
        console().print("Tokens are for each accepted example.")
    if len(found) > limit:
        console().print(f"{limit} of {len(found)}; --limit shows more.")


def _costs(what: str, costs: dict[str, Cost]) -> Table:
    priced, reused = (any(getattr(cost, name) for cost in costs.values()) for name in ("cost", "reused"))
    columns = ["calls", *(["reused"] if reused else []), "prompt tok", "cached", "reply tok", "seconds"]
    table = plain_table(what, *columns, *(["money"] if priced else []))
    for name, cost in costs.items():
        cached = f"{cost.cached_tokens / cost.prompt_tokens:.0%}" if cost.prompt_tokens else ""
        table.add_row(
            name, str(cost.calls), *([str(cost.reused)] if reused else []), f"{cost.prompt_tokens:,}",
            cached, f"{cost.completion_tokens:,}",
            f"{cost.seconds:,.0f}", *([f"{cost.cost:.4f}"] if priced else []),
        )  # fmt: skip
    return table
