"""`understudy table private`: a differentially private stand-in for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.screen import console

_LEAST = 20


def private(
    data: Annotated[Path, typer.Argument(help="Real rows: CSV, TSV, JSONL, Parquet or Arrow.", show_default=False)],
    schema: Annotated[Path, typer.Option(help="Their schema, with ranges and categories known without the data.")],
    epsilon: Annotated[float, typer.Option(min=0.01, max=100, help="The privacy loss for one row.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .csv file to write.")],
    rows: Annotated[int | None, typer.Option(min=20, help="How many; else about as many as there are.")] = None,
    bins: Annotated[int, typer.Option(min=2, max=100, help="Classes of equal width that numbers are counted in.")] = 8,
) -> None:
    """Draw a stand-in for a table from noisy counts of it: differential privacy, with its epsilon stated."""
    from understudy.corpus import stand_in
    from understudy.corpus.readers import TABLES, table_rows
    from understudy.corpus.table_schema import read_schema, typed
    from understudy.errors import UserError

    if not data.is_file() or data.suffix.lower() not in TABLES:
        raise UserError("no such table", where=str(data), expected=f"a file of {', '.join(sorted(TABLES))}")
    if out.suffix != ".csv" or not out.absolute().parent.is_dir():
        raise UserError("not a file to write", where=str(out), expected="a .csv file in a folder that is there")
    for path in (out, stand_in.beside(out)):
        if path.exists():
            raise UserError(
                "is there already", where=str(path),
                remedy="keep it: whoever has two stand-ins of a table has spent both epsilons. Or name another file",
            )  # fmt: skip
    known = read_schema(schema)
    stand_in.check_declared(known, str(schema))
    real = [typed(row, known, f"{data}:{place}") for place, row in table_rows(data)]
    if len(real) < _LEAST:
        raise UserError(f"{len(real)} rows", where=str(data), expected=f"at least {_LEAST}")
    screen = console()
    screen.print(f"Counting {len(real):,} rows with noise, and fitting a model to the counts. This takes minutes.")
    made = stand_in.stand_in(real, known, epsilon, bins, rows)
    claim = stand_in.write(out, made, epsilon)
    screen.print(f"{len(made):,} rows in {out}: {claim.told()}", soft_wrap=True, markup=False)
    screen.print(
        f"Ranges, categories and --bins count as known to everybody: if you read them off these rows, the epsilon does "
        f"not hold. The claim is in {stand_in.beside(out)}; keep it beside the table.",
        markup=False,
    )
    screen.print("\nNext:", markup=False)
    screen.print(f"  understudy table compare {out} --sample {data} --schema {schema}", soft_wrap=True, markup=False)
    screen.print(f"  in a recipe: seeds: [{{path: {out.name}, kind: table}}]", soft_wrap=True, markup=False)
