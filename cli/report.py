"""`understudy report`: the books and the measures of a corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli.screen import AsJson, Corpus, console, plain_table


def report(
    corpus: Corpus,
    as_json: AsJson = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Embed the instructions too, and measure how many are truly different.")
    ] = False,
) -> None:
    """Show where every seed, draft and token of a corpus went."""
    import json

    from understudy.corpus import RunFolder
    from understudy.evals import measures
    from understudy.models import open_embedder

    with RunFolder.read(corpus) as folder:
        books = folder.accounting()
        embedder = open_embedder(folder.recipe.dedup.embedder, folder.recipe.folder) if coverage else None
        found = measures((row["messages"] for row in folder.rows(columns=["messages"])), embedder)
        digest = folder.digest
    if as_json:
        typer.echo(json.dumps({"accounting": books.as_dict(), "measures": found, "digest": digest}, indent=2))
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
    cast = plain_table("agent", "calls", "prompt tok", "reply tok", "seconds")
    for name, cost in books.agents.items():
        cast.add_row(
            name, str(cost.calls), f"{cost.prompt_tokens:,}", f"{cost.completion_tokens:,}", f"{cost.seconds:,.0f}"
        )
    screen.print(cast)
    if found:
        diversity = plain_table("measure", "value")
        for name, value in found.items():
            diversity.add_row(name, f"{value:.4g}")
        screen.print(diversity)
    if accepted := books.drafts["accepted"]:
        money = f", {books.cost / accepted:.6f} in money" if books.cost else ""
        screen.print(f"{books.tokens / accepted:,.0f} SM tokens per accepted example{money}")
