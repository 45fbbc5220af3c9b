"""`understudy journal`: whether a corpus folder is sound, setting it right, and what it takes on disk."""

from __future__ import annotations

import typer

from understudy.cli.screen import AsJson, Corpus, console, plain_table

app = typer.Typer(help="Check a corpus folder, repair it, see what it takes.", no_args_is_help=True)


@app.command()
def check(corpus: Corpus, as_json: AsJson = False) -> None:
    """Read every file, and say whether files, ledger and journal agree."""
    import json
    from dataclasses import asdict

    from understudy.corpus.repair import check as look_over
    from understudy.errors import RunFolderError

    found = look_over(corpus)
    harm = sum(not problem.harmless for problem in found)
    if as_json:
        typer.echo(json.dumps([asdict(problem) for problem in found]))
    else:
        for problem in found:
            console().print(f"{problem.where}: {problem.what}", markup=False)
        if not harm:
            console().print("Nothing is lost, doubled or damaged.")
    if harm:
        problems = "one problem" if harm == 1 else f"{harm} problems"
        raise RunFolderError(problems, where=str(corpus), remedy=f"understudy journal repair {corpus}")


@app.command()
def repair(corpus: Corpus) -> None:
    """Take out what is damaged; the next run makes it again."""
    from understudy.corpus.repair import repair as set_right

    done = set_right(corpus)
    for line in done or ["Nothing to do."]:
        console().print(line, markup=False)


@app.command()
def stats(corpus: Corpus, as_json: AsJson = False) -> None:
    """Show how much there is of everything, and the bytes it takes."""
    import json

    from understudy.corpus import RunFolder

    with RunFolder.read(corpus) as folder:
        found = folder.sizes()
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = plain_table("", "count", "bytes", "bytes each")
    for what, (count, size) in found.items():
        table.add_row(what, f"{count:,}", f"{size:,}", f"{size / count:,.0f}" if count else "")
    console().print(table)
