"""`understudy rank`: rows in the order in which a VM suspects them, with probabilities and reasons."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import clock, console, plain_table, visible

if TYPE_CHECKING:
    from understudy.columns import Record
    from understudy.evals.suspicion import Suspect
    from understudy.recipe import Recipe

_SHOWN = 10
# Columns of the list; one of the table that is called so gets an underscore.
_OURS = frozenset({"rank", "row", "probability", "reasons"})


def rank(
    vm: Annotated[Path, typer.Argument(help="A VM that learned from a corpus of rows.", show_default=False)],
    data: Annotated[Path, typer.Argument(help="Rows to rank; the target may be a column.", show_default=False)],
    positive: Annotated[str, typer.Option(help="The answer that is looked for, such as `yes`.")],
    top: Annotated[int, typer.Option(min=1, help="How many are listed with their reasons.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the whole list here: .csv or .jsonl.")] = None,
    base_rate: Annotated[
        float | None, typer.Option(help="True share of the answer; default: as the corpus has it.")
    ] = None,
    reasons: Annotated[int, typer.Option(min=0, help="Most reasons of each.")] = 3,
) -> None:
    """Rank rows by how likely a VM finds an answer, with calibrated probabilities and reasons."""
    from understudy.agents import catalog_of
    from understudy.corpus.table_sample import block_of
    from understudy.errors import UserError
    from understudy.evals.answering import Models, Prompt
    from understudy.evals.suspicion import suspects
    from understudy.graphs.table import Questions
    from understudy.training.lineage import read_speaker

    trained = read_speaker(vm)
    if out is not None and (out.suffix not in {".csv", ".jsonl"} or not out.absolute().parent.is_dir()):
        raise UserError("not a file to write", where=str(out), expected=".csv or .jsonl, in a folder that is there")
    if out is not None and out.exists() and out.samefile(data):
        raise UserError("holds the rows to rank", where=str(out), remedy="name another file")
    recipe, learned, true = _learned(trained.corpus, positive)
    block, schema = block_of(recipe)
    asking = Questions(block, schema)
    aim = asking.targets[0]
    true = true if base_rate is None else base_rate
    if not 0 < true < 1:
        raise UserError(f"--base-rate {true:g}", expected="a share between 0 and 1, both excluded")
    rows, truth = _rows(data, schema, aim)
    (agent,) = (one for one in catalog_of(recipe).agents["instruct"] if one.prompt.first == "row")

    def asked(fields: Any) -> Prompt:
        text = agent.prompt.asked(use_case=block.use_case, fields=fields, question=asking.question())
        return Prompt(({"role": "user", "content": text},))

    started = time.monotonic()

    def watch(done: int, all_: int) -> None:
        nonlocal started
        left = (time.monotonic() - started) / done * (all_ - done)
        typer.echo(f"{done:,} of {all_:,} questions weighed, {clock(left)} left", err=True)
        if done == all_:  # what comes next, the reasons, has a time of its own
            started = time.monotonic()

    models = Models(Path(trained.base_path), vm)
    with models.as_vm() as model:
        found = suspects(
            [asking.fields(row) for row in rows], asked, models.answering(model), schema[aim].categories, positive,
            learned=learned, true=true, top=min(top, len(rows)), reasons=reasons, watch=watch,
        )  # fmt: skip
    if out is not None:
        _write(out, found, rows)
    _show(found, rows, top, aim, positive, true)
    if all(value is not None for value in truth):
        _measure(found, [value == positive for value in truth], min(top, len(rows)))
    else:
        console().print("`understudy rank` tells precision and calibration where all targets are in the file.")


def _learned(corpus: str | None, positive: str) -> tuple[Recipe, float, float]:
    """The recipe of a VM's corpus, the share of an answer in it, and its true share."""
    from understudy.corpus import RunFolder
    from understudy.corpus.base_rate import shares
    from understudy.corpus.table_sample import block_of
    from understudy.errors import UserError

    if corpus is None:
        raise UserError("the VM learned from files alone", expected="one that learned from a corpus of rows")
    with RunFolder.read(Path(corpus)) as folder:
        recipe = folder.recipe
        if recipe.rows is None:
            raise UserError("is no corpus of rows", where=corpus, expected="a corpus whose recipe has `rows`")
        _, schema = block_of(recipe)
        aims = [name for name, column in schema.items() if column.role == "target"]
        if len(aims) != 1 or schema[aims[0]].type != "category" or positive not in schema[aims[0]].categories:
            known = ", ".join(schema[aims[0]].categories) if len(aims) == 1 else "one target of categories"
            raise UserError(f"--positive {positive}", where=corpus, expected=known or "a target of categories")
        here = shares([json.loads(row["row"]) for row in folder.rows("accepted", columns=["row"])], aims[0])
    try:
        report = json.loads((Path(corpus) / "report.json").read_text(encoding="utf-8"))
        true = report["figures"]["table"]["base_rate"].get(aims[0], here)
    except (OSError, ValueError, KeyError, TypeError):
        true = here
    if not 0 < here.get(positive, 0.0) < 1:
        raise UserError(f"the corpus has no two answers, `{positive}` and others", where=corpus)
    return recipe, here[positive], float(true.get(positive, here[positive]))


def _rows(data: Path, schema: Any, aim: str) -> tuple[list[Record], list[Any]]:
    """Rows to rank; their targets need not be known."""
    from understudy.corpus.table_sample import read_table
    from understudy.errors import SchemaError, UserError

    open_ended = schema | {aim: schema[aim].model_copy(update={"optional": True})}
    try:
        rows = read_table(data, open_ended)
    except SchemaError as error:
        if f"no column `{aim}`" not in error.message:
            raise
        rows = read_table(data, {name: column for name, column in schema.items() if name != aim})
    if not rows:
        raise UserError("holds no rows", where=str(data))
    return rows, [row.get(aim) for row in rows]


def _write(out: Path, found: list[Suspect], rows: list[Record]) -> None:
    lines = [
        {"rank": number, "row": one.place + 1, "probability": float(f"{one.probability:.6g}"),
         "reasons": "; ".join(f"{name} {added:+.2f}" for name, added in one.reasons),
         **{f"{name}_" if name in _OURS else name: value for name, value in rows[one.place].items()}}
        for number, one in enumerate(found, start=1)
    ]  # fmt: skip
    with out.open("w", encoding="utf-8", newline="") as file:
        if out.suffix == ".csv":
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        else:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _show(found: list[Suspect], rows: list[Record], top: int, aim: str, positive: str, true: float) -> None:
    screen = console()
    answer = f"{visible(aim)} {visible(positive)}"
    screen.print(f"{len(rows):,} rows; {answer} is taken to be true of {true:.1%}", markup=False)
    table = plain_table("rank", "row", "probability", "because of", words=1)
    for number, one in enumerate(found[: min(top, _SHOWN)], start=1):
        told = ", ".join(f"{name} {rows[one.place].get(name)} ({added:+.1f})" for name, added in one.reasons)
        table.add_row(str(number), f"{one.place + 1:,}", f"{one.probability:.3f}", visible(told))
    screen.print(table, markup=False)
    if len(found) > _SHOWN:
        screen.print(f"The first {_SHOWN} of {len(found):,}; `--out` writes all of them.", markup=False)


def _measure(found: list[Suspect], relevant: list[bool], k: int) -> None:
    from understudy.evals.suspicion import calibration
    from understudy.evals.task_measures import ranking

    screen = console()
    if not any(relevant):
        screen.print("No row has the answer, so there is nothing to be precise about.")
        return
    by_row = sorted(found, key=lambda one: one.place)
    values = ranking([one.odds for one in by_row], relevant, k).values()
    share = sum(relevant) / len(relevant)
    held = calibration([one.probability for one in by_row], relevant)
    table = plain_table("", "value", "95 % interval", "by chance", words=1)
    for name, chance in ((f"precision@{k}", share), ("average_precision", share), ("auc", 0.5)):
        one = values[name]
        table.add_row(name, f"{one.mean:.3f}", f"{one.low:.3f} to {one.high:.3f}", f"{chance:.3f}")
    brier = ("Brier score", held.brier, f"{held.of_base_rate:.4f}")
    for name, one, base in (brier, ("calibration error", held.error, "")):
        table.add_row(name, f"{one.mean:.4f}", f"{one.low:.4f} to {one.high:.4f}", base)
    screen.print(table, markup=False)
