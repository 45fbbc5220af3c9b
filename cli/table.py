"""`understudy table`: tables of real and synthetic rows, ours or another tool's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import AsJson, console, plain_table, visible

if TYPE_CHECKING:
    from rich.console import Console

    from understudy.columns import Record, Schema

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Tables of rows: schemas, questions to a VM, and a check of synthetic ones.",
)
_SHOWN = 3
# What `understudy export --as rows` adds to the cells.
_WEIGHT = "_weight"
_ADDED = frozenset({"_example", _WEIGHT})
_AT_LEAST = frozenset({"closest-record", "distance-ratio", "k-anonymity"})


@app.command()
def compare(
    synthetic: Annotated[
        Path, typer.Argument(help="The synthetic table: CSV, TSV, JSONL, Parquet or Arrow.", show_default=False)
    ],
    sample: Annotated[Path, typer.Option("--sample", "-s", help="The real rows that it was made from.")],
    holdout: Annotated[
        Path | None, typer.Option(help="Real rows that whoever made it has not seen; without them less is measured.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="The schema; inferred from the tables without.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="A column to predict, where the schema is inferred; may be repeated.")
    ] = None,
    identifying: Annotated[
        list[str] | None,
        typer.Option(help="A column that helps to find a person, where the schema is inferred; may be repeated."),
    ] = None,
    canaries: Annotated[Path | None, typer.Option(help="Made-up rows that were planted in the sample.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write it all, with pictures, as this HTML file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a synthetic table against the real rows it was made from; exits with 1 when privacy fails."""
    import json

    from understudy.errors import UserError
    from understudy.evals.table_figures import table_figures
    from understudy.privacy import Privacy, Trend
    from understudy.traces.table_page import write

    if schema and (target or identifying):
        raise UserError("--target and --identifying with a schema", remedy="say it in the schema")
    if page and not page.absolute().parent.is_dir():
        raise UserError("no such folder", where=str(page.parent))
    read = _read(synthetic, sample, holdout, canaries, schema, target or [], identifying or [])
    figures = table_figures(
        read.synthetic, read.sample, read.holdout, read.schema, Privacy(), Trend(), read.canaries, weights=read.weights
    )
    figures["rows"]["unfit"] = len(read.unfit)
    if page:
        write(page, figures, synthetic.name)
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        show(figures, read.unfit)
        if page:
            console().print(f"\nAll of it as a page: {page}", soft_wrap=True)
    if figures["privacy"]["passed"] is False:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Tables:
    schema: Schema
    synthetic: list[Record]
    sample: list[Record]
    holdout: list[Record]
    canaries: list[Record]
    unfit: list[str]
    """What is wrong with the rows of the synthetic table that the schema does not fit."""
    weights: list[float] | None
    """What each synthetic row counts, where a column says it."""


def _read(
    synthetic: Path, sample: Path, holdout: Path | None, canaries: Path | None, schema: Path | None,
    target: Sequence[str], identifying: Sequence[str],
) -> _Tables:  # fmt: skip
    """All tables, typed alike; of the synthetic one, rows that do not fit are left out and told.

    Raises:
        SeedError, SchemaError: when a file cannot be read, or a real row does not fit.
    """
    from understudy.corpus.readers import TABLES, table_rows
    from understudy.corpus.table_sample import apart
    from understudy.corpus.table_schema import checked, infer, read_schema, typed
    from understudy.errors import SchemaError, SeedError

    files = [synthetic, sample, *([holdout] if holdout else []), *([canaries] if canaries else [])]
    tables: dict[Path, list[tuple[str, Mapping[str, Any]]]] = {}
    for file in files:
        if file.suffix.lower() not in TABLES or not file.is_file():
            raise SeedError("no such table", where=str(file), expected=f"a file of {', '.join(sorted(TABLES))}")
        tables[file] = list(table_rows(file))
        if not tables[file]:
            raise SeedError("holds no rows", where=str(file))
    weights = [_weight(row, f"{synthetic}:{place}") for place, row in tables[synthetic]]
    if schema:
        found = read_schema(schema)
    else:
        for file, rows in tables.items():
            tables[file] = [
                (place, {name: _bare(cell) for name, cell in row.items() if name not in _ADDED}) for place, row in rows
            ]
        drafted = infer([row for rows in tables.values() for _, row in rows], target)
        if unknown := [name for name in identifying if name not in drafted]:
            raise SchemaError(f"no column `{unknown[0]}`", expected=f"one of: {', '.join(drafted)}")
        # Ranges are those of the sample, and no reason to leave a row out.
        found = checked(
            {
                name: column.model_copy(
                    update={"low": None, "high": None, "identifying": column.identifying or name in identifying}
                )
                for name, column in drafted.items()
            },
            str(sample),
        )
    for file, rows in tables.items():
        there = {name for _, row in rows for name in row}
        lacking = [name for name, column in found.items() if column.role != "ignored" and name not in there]
        if lacking:
            raise SchemaError(
                f"no column `{lacking[0]}`", where=str(file), expected=f"the columns of the others: {', '.join(found)}"
            )
    kept, unfit, heavy = [], [], []
    for (place, row), weight in zip(tables[synthetic], weights, strict=True):
        try:
            kept.append(typed(row, found, f"{synthetic}:{place}"))
            heavy.append(weight)
        except SchemaError as error:
            unfit.append(f"{place}: {error.message}")
    if not kept:
        raise SchemaError(
            f"none of {len(unfit):,} rows fits the schema", where=str(synthetic), expected=f"unlike {unfit[0]}"
        )
    real = [
        [typed(row, found, f"{file}:{place}", unseen=file != sample) for place, row in tables[file]] if file else []
        for file in (sample, holdout, canaries)
    ]
    held = apart(real[1], real[0], str(holdout))
    return _Tables(found, kept, real[0], held, real[2], unfit, heavy if len(set(heavy)) > 1 else None)


def _weight(row: Mapping[str, Any], place: str) -> float:
    """What `understudy export --as rows` says that a row counts; 1 in other tables."""
    from understudy.errors import SeedError

    try:
        weight = float(row.get(_WEIGHT, 1.0))
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise SeedError(f"{_WEIGHT} is {row[_WEIGHT]!r}", where=place, expected="a number that is not negative")
    return weight


def _bare(cell: Any) -> Any:
    """A cell without the ways in which tools write one number: 1, 1.0 and 1.000 are the same."""
    if cell is None or isinstance(cell, bool):
        return cell
    text = str(cell).strip()
    if text[:1] == "0" and text[1:2].isdigit():  # a postcode is no number
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else text


def show(figures: Mapping[str, Any], unfit: Sequence[str] = ()) -> None:
    """Print how private, true and useful a table is."""
    from understudy.traces.table_page import called, figure, verdict

    screen = console()
    privacy, fidelity, useful = figures["privacy"], figures["fidelity"], figures["useful"]
    screen.print(f"{figures['rows']['synthetic']:,} synthetic rows against {privacy['basis']}")
    if (alike := figures["rows"].get("alike")) is not None:
        screen.print(f"Likeness to real rows is measured of {alike:,} of them, drawn by their weights")
    if unfit:
        screen.print(f"{len(unfit):,} rows do not fit the schema and were left out:")
        for line in unfit[:_SHOWN]:
            screen.print(f"  {visible(line)}", markup=False)
    screen.print(f"\nPrivacy: {verdict(privacy['passed'])}")
    if figures.get("claim"):
        screen.print(f"The sample is a stand-in, {figures['claim']}; so are these rows.", markup=False)
    if refused := privacy.get("refused"):
        told = ", ".join(f"{count:,} {reason.removeprefix('privacy/')}" for reason, count in refused.items())
        screen.print(f"Drafts that were refused before they counted: {told}", markup=False)
    table = plain_table("check", "value", "limit", "verdict")
    measured = [one for one in privacy["findings"] if one["value"] is not None]
    for one in measured:
        sign = "≥" if one["name"] in _AT_LEAST else "≤"
        limit = "–" if one["limit"] is None else f"{sign} {figure(one['limit'], one['name'])}"
        table.add_row(called(one["name"]), figure(one["value"], one["name"]), limit, verdict(one["passed"]))
    screen.print(table)
    for one in measured:
        if one["passed"] is False:
            screen.print(f"{called(one['name'])}: {visible(one['told'])}", markup=False)
    for one in privacy["findings"]:
        if one["value"] is None:
            screen.print(f"{called(one['name'])}: {visible(one['told'])}", markup=False, style="dim")
    _trend(screen, fidelity, figures["detection"])
    _use(screen, useful)


def _trend(screen: Console, fidelity: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    from understudy.traces.table_page import verdict

    screen.print(f"\nTrend: {verdict(fidelity['passed'])}")
    table = plain_table("distance", "synthetic", "real, median", "limit", "verdict")
    for one in fidelity["trend"]:
        numbers = (f"{one[key]:.3f}" for key in ("value", "usual", "limit"))
        table.add_row(one["name"], *numbers, verdict(one["passed"]))
    screen.print(table)
    for one in found:
        usual = f"; held-out rows from the sample: {one['usual']['mean']:.2f}" if one["usual"] else ""
        auc = one["auc"]
        screen.print(
            f"Told from real rows by {one['by']}: AUC {auc['mean']:.2f} ({auc['low']:.2f} to {auc['high']:.2f}){usual}"
        )


def _use(screen: Console, useful: Mapping[str, Any]) -> None:
    screen.print("\nTrained on synthetic rows or on the real sample, tested on held-out real rows")
    table = plain_table("target, model, measure", "synthetic", "real", "difference (95 %)")
    for one in useful["scores"]:
        made, real, gap = one["synthetic"], one["real"], one["difference"]
        between = f" ({gap['low']:+.2f} to {gap['high']:+.2f})" if gap["low"] is not None else ""
        numbers = ("–" if part["mean"] is None else f"{part['mean']:.2f}" for part in (made, real))
        shown = "–" if gap["mean"] is None else f"{gap['mean']:+.2f}{between}"
        table.add_row(f"{visible(one['target'])}, {one['model']}, {one['measure']}", *numbers, shown)
    if useful["scores"]:
        screen.print(table, markup=False)
    for why in useful["open"]:
        screen.print(visible(why), markup=False)
