"""`understudy table schema` and `understudy table questions`: the files around a table, written to be looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import console, plain_table, visible

if TYPE_CHECKING:
    from understudy.recipe import Recipe

# Letters of a category's values that are shown; all of them stand in the file.
_WIDE = 60


def schema(
    data: Annotated[Path, typer.Argument(help="A table: CSV, TSV, JSONL, Parquet or Arrow.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it here; else it is printed.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="A column that a VM is to say; may be repeated.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names of the columns, with commas, of a file without a header line.")
    ] = None,
) -> None:
    """Infer a table's schema, to be looked at and edited: types, ranges, categories, and what is private."""
    from understudy.corpus.readers import TABLES, table_rows
    from understudy.corpus.table_doubts import doubts
    from understudy.corpus.table_schema import checked, infer, written
    from understudy.errors import UserError

    if not data.is_file() or data.suffix.lower() not in TABLES:
        raise UserError("no such table", where=str(data), expected=f"a file of {', '.join(sorted(TABLES))}")
    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    if out is not None and out.exists():
        raise UserError("is there already", where=str(out), remedy="name another file, or remove it")
    if out is not None and not out.absolute().parent.is_dir():
        raise UserError("no such folder", where=str(out.parent))
    rows = [row for _, row in table_rows(data, names)]
    if not rows:
        raise UserError("holds no rows", where=str(data))
    found = checked(infer(rows, target or []), str(data))
    unsure = doubts(found, rows)
    if out is None:
        typer.echo(written(found), nl=False)
        for doubt in unsure:
            typer.echo(visible(doubt), err=True)
        return
    out.write_text(written(found), encoding="utf-8")
    table = plain_table("column", "type", "values", "role", "private", words=5)
    for name, column in found.items():
        values = ", ".join(column.categories)
        if column.numeric:
            values = f"{column.low:,.10g} to {column.high:,.10g}"
        private = "text" if column.sensitive else "identifying" if column.identifying else ""
        kind = f"{column.type}{', may be empty' if column.optional else ''}"
        shown = values if len(values) <= _WIDE else f"{values[:_WIDE]}…, {len(column.categories)} in all"
        table.add_row(visible(name), kind, visible(shown), column.role, private)
    console().print(table, markup=False)
    for doubt in unsure:
        console().print(visible(doubt), markup=False)
    console().print(f"{out}", soft_wrap=True, markup=False)
    console().print(
        "Look at `role` (input, target, ignored), at the ranges, and at what is `sensitive` or `identifying`; "
        "then name the file in a recipe:"
    )
    console().print(f"  rows: {{use_case: …, columns: {out.name}}}", soft_wrap=True, markup=False)


def questions(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder of rows, or its recipe.", show_default=False)],
    data: Annotated[Path, typer.Argument(help="Real rows: CSV, TSV, JSONL, Parquet or Arrow.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .jsonl file to write; a task .yaml beside it.")],
    positive: Annotated[
        str | None, typer.Option(help="Rank by how likely this answer is, instead of asking for the class.")
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="With --positive: of the precision among the first k.")] = 20,
) -> None:
    """Real rows as a VM is asked of them, with the answers: to evaluate it, or to train another on real rows."""
    from understudy.agents import catalog_of
    from understudy.corpus.table_sample import block_of, read_table
    from understudy.errors import UserError
    from understudy.graphs.rows import conversation
    from understudy.graphs.table import Questions

    if out.suffix != ".jsonl" or not out.absolute().parent.is_dir():
        raise UserError("not a file to write", where=str(out), expected="a .jsonl file in a folder that is there")
    recipe = _recipe(corpus)
    block, schema = block_of(recipe)
    asking = Questions(block, schema)
    (agent,) = (one for one in catalog_of(recipe).agents["instruct"] if one.prompt.first == "row")
    if len(asking.targets) != 1 or schema[asking.targets[0]].type != "category":
        raise UserError("no one target of categories", where=str(corpus), expected="a schema with one `role: target`")
    aim = asking.targets[0]
    choices = schema[aim].categories
    if positive is not None and positive not in choices:
        raise UserError(f"--positive {positive}", expected=f"one of: {', '.join(choices)}")
    rows = [row for row in read_table(data, schema) if row[aim] is not None]
    if not rows:
        raise UserError("no row whose target is known", where=str(data))
    asked = "".join(
        json.dumps({"messages": conversation(row, asking, agent)}, ensure_ascii=False) + "\n" for row in rows
    )
    measure = "ranking" if positive else "classes"
    task: dict[str, Any] = {"name": out.stem, "data": out.name, "measure": measure, "choices": choices}
    if positive:
        task |= {"positive": positive, "k": min(k, len(rows))}
    told = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in task.items())
    written = {out: asked, out.with_suffix(".yaml"): told}
    for path, text in written.items():  # the .yaml beside may be somebody's recipe
        if path.exists() and path.read_bytes() != text.encode():
            raise UserError("is there already", where=str(path), remedy="name another file, or remove it")
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    console().print(f"{len(rows):,} rows in {out}, the task in {out.with_suffix('.yaml')}", soft_wrap=True)
    console().print(f"\nNext:\n  understudy eval VM --on {out.with_suffix('.yaml')}", soft_wrap=True)


def _recipe(path: Path) -> Recipe:
    """The resolved recipe of a corpus of rows, or of a file."""
    from understudy.corpus import RunFolder
    from understudy.corpus.table_sample import resolved
    from understudy.errors import UserError
    from understudy.recipe_file import load_recipe

    if path.is_dir():
        with RunFolder.read(path) as folder:
            recipe = folder.recipe
    else:
        recipe = resolved(load_recipe(path))
    if recipe.rows is None:
        raise UserError("makes no rows", where=str(path), expected="a recipe with a section `rows`, or its corpus")
    return recipe
