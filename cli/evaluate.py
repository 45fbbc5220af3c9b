"""`understudy eval`: the VM against its base and others, on held-out examples, tasks and known benchmarks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.screen import AsJson, Meter, console, plain_table, visible

if TYPE_CHECKING:
    from understudy.training.lineage import Trained

# Below this many, a bootstrap sees too little of the spread to be trusted.
_FEW = 20
_INTERVAL = "VM - base (95 % interval)"


def evaluate(
    vm: Annotated[Path, typer.Argument(help="A VM folder, as `understudy train` writes it.", show_default=False)],
    corpus: Annotated[
        Path | None, typer.Option(help="Corpus whose test split to use; default: the one the VM was trained on.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Most held-out examples, or general instructions, to measure.")
    ] = 200,
    answers: Annotated[int, typer.Option(min=0, help="How many of them to answer for the task score.")] = 16,
    on: Annotated[
        list[Path] | None,
        typer.Option("--on", help="A task file to measure on, instead of the corpus' test split; may be repeated."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another VM to measure on the tasks, such as one trained on few real rows; may be repeated."),
    ] = None,
    sm: Annotated[bool, typer.Option("--sm", help="Measure the SM of the corpus on the tasks too.")] = False,
    keep_overlap: Annotated[
        bool, typer.Option("--keep-overlap", help="Measure on rows whose prompt was learned from, too.")
    ] = False,
    forgetting: Annotated[
        Path | None, typer.Option(help="General instructions with answers: what of them did the VM forget?")
    ] = None,
    lm_eval: Annotated[
        str | None, typer.Option(help="Tasks of the lm-evaluation-harness, with commas; it runs as its own process.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the VM with its base on held-out examples, or with others on tasks."""
    import json

    from understudy.errors import UserError
    from understudy.training.lineage import read_speaker

    if not on and (against or sm or keep_overlap):
        option = "--against" if against else "--sm" if sm else "--keep-overlap"
        raise UserError(f"{option} without --on", expected="a task file", remedy="name one with --on")
    lineage = read_speaker(vm)
    found: dict[str, Any] = {}
    if on:
        found["tasks"] = _tasks(vm, lineage, on, against or [], sm, keep_overlap, as_json)
    if forgetting:
        found["forgetting"] = _forgetting(vm, lineage, forgetting, limit, as_json)
    if lm_eval:
        found["lm_eval"] = _harness(vm, lineage, lm_eval, as_json)
    if not found:
        found = _held_out(vm, lineage, corpus, limit, answers, as_json)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))


def _held_out(vm: Path, lineage: Trained, corpus: Path | None, limit: int, answers: int, quiet: bool) -> dict[str, Any]:
    from itertools import islice

    from understudy.cli.eval_tasks import save
    from understudy.corpus import RunFolder
    from understudy.corpus.rows import messages
    from understudy.errors import RunFolderError
    from understudy.evals.answering import Models
    from understudy.evals.heldout import compare

    if corpus is None and lineage.corpus is None:
        raise RunFolderError(
            "was trained on files, so there is no test split",
            where=str(vm),
            remedy="name a corpus, or a task with --on",
        )
    source = corpus or Path(lineage.corpus or "")
    with RunFolder.read(source) as folder:
        held_out = {row["id"]: messages(row) for row in islice(folder.rows("accepted", "test"), limit)}
        changed = corpus is None and folder.digest != lineage.corpus_digest
    if not held_out:
        raise RunFolderError(
            "has no test split", where=str(source), remedy="generate more examples, or raise `test_share` in the recipe"
        )
    found = compare(Models(_base(lineage), vm), held_out, generate=answers, watch=Meter())
    save(vm / "eval.json", asdict(found))
    if quiet:
        return asdict(found)
    screen = console()
    if changed:
        screen.print("[yellow]The corpus has changed since this VM was trained on it.[/]")
    table = plain_table(f"on {len(held_out)} held-out examples", "base", "VM", _INTERVAL)
    for name, scores in (("loss of the answers (lower is better)", found.loss), ("token F1 of the answers", found.f1)):
        if scores:
            table.add_row(name, f"{scores.base:.3f}", f"{scores.vm:.3f}", _gap(asdict(scores.gap)))
    screen.print(table)
    verdict = (
        "The VM's held-out loss is below its base's." if found.improved else
        "The interval includes zero or worse: on this evidence the VM is not better than its base."
    )  # fmt: skip
    screen.print(verdict)
    _warn_if_few(len(held_out))
    screen.print(f"Every example's loss and the answers side by side: {vm / 'eval.json'}", soft_wrap=True)
    return asdict(found)


def _tasks(
    vm: Path, lineage: Trained, on: list[Path], against: list[Path], sm: bool, keep_overlap: bool, quiet: bool
) -> dict[str, Any]:
    from understudy.cli.eval_tasks import ask_pair, ask_sm, labels, prepare, result, save
    from understudy.errors import RunFolderError
    from understudy.training.lineage import read_speaker

    meter = Meter()
    others = [read_speaker(other) for other in against]
    if sm and lineage.corpus is None:
        raise RunFolderError("was trained on files: no SM wrote them", where=str(vm), remedy="leave out --sm")
    bases = [_base(one) for one in (lineage, *others)]
    works = prepare(on, [lineage, *others], keep_overlap=keep_overlap)
    if sm and lineage.corpus is not None:
        ask_sm(works, lineage.corpus, meter)  # first: it is the likeliest to be away
    ask_pair(works, bases[0], vm, {"base": ("base", lineage.base), "vm": ("VM", str(vm.absolute()))}, meter)
    for other, base, name in zip(against, bases[1:], labels(against), strict=True):
        ask_pair(works, base, other, {"vm": (name, str(other.absolute()))}, meter)
    found = {}
    for work in works:
        said = result(work, "VM")
        path = vm / f"eval-{work.task.name}.json"
        save(path, said)
        found[work.task.name] = {key: value for key, value in said.items() if key != "rows"}
        if not quiet:
            _show(said, path)
    return found


def _show(said: dict[str, Any], path: Path) -> None:
    screen = console()
    count, task = said["data"]["rows"], said["task"]
    lower = ", lower is better" if said["lower_is_better"] else ""
    table = plain_table(
        f"{task['name']}: {count} rows{lower}", "measure", "value (95 % interval)", "VM - this", words=2
    )
    for name, system in said["systems"].items():
        for place, (stat, value) in enumerate(system["values"].items()):
            gap = system.get("vm_minus_this", {}).get(stat)
            table.add_row("" if place else _plain(name), stat, _interval(value), _gap(gap) if gap else "")
    screen.print(table)
    for name, system in said["systems"].items():
        if unread := system["details"].get("unparsable"):
            screen.print(
                f"{_plain(name)}: {unread} of {count} answers hold no JSON object; all their fields count as missed."
            )
        if lost := system["details"].get("not_found") or system["details"].get("not_a_class"):
            screen.print(f"{_plain(name)}: {lost} of {count} replies hold no answer that could be right.")
    if overlap := said["data"]["overlap"]:
        screen.print(f"[yellow]{len(overlap)} of these rows have a prompt that was learned from.[/]")
    for refused in said["data"]["refused"][:3]:
        screen.print(f"[yellow]left out, line {refused['line']}:[/] ", end="")
        screen.print(visible(refused["reason"]), markup=False)
    if (more := len(said["data"]["refused"]) - 3) > 0:
        screen.print(f"and {more} more")
    _warn_if_few(count)
    screen.print(f"Every answer, and all figures: {path}", soft_wrap=True)


def _forgetting(vm: Path, lineage: Trained, file: Path, limit: int, quiet: bool) -> dict[str, Any]:
    import hashlib

    from understudy.cli.eval_tasks import save, versions
    from understudy.corpus.conversations import read_conversations
    from understudy.errors import UserError
    from understudy.evals.answering import Models
    from understudy.evals.forgetting import forgotten

    rows, refused = read_conversations(file)
    rows = [row for row in rows if row["messages"][-1]["content"].strip()][:limit]
    if not rows:
        raise UserError(
            "holds no instruction with an answer", where=str(file), remedy="see its refused rows with `--on`"
        )
    scores, by_row = forgotten(Models(_base(lineage), vm), rows, Meter())
    path = vm / "eval-forgetting.json"
    found: dict[str, Any] = {
        "data": {
            "path": str(file.absolute()),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "rows": len(rows),
            "refused": [{"line": line, "reason": reason} for line, reason in refused],
        },
        "versions": versions(),
        "loss": asdict(scores),
    }
    save(path, found | {"rows": by_row})
    if not quiet:
        screen = console()
        table = plain_table(f"on {len(rows)} general instructions", "base", "VM", _INTERVAL)
        row = "loss of the answers (lower is better)"
        table.add_row(row, f"{scores.base:.3f}", f"{scores.vm:.3f}", _gap(asdict(scores.gap)))
        screen.print(table)
        gap = scores.gap
        screen.print(
            f"The VM has forgotten: its loss is {gap.mean:.3f} above its base's." if gap.low > 0 else
            "The VM has not forgotten: its loss is below its base's." if gap.high < 0 else
            "The interval includes zero: on this evidence nothing was forgotten."
        )  # fmt: skip
        if refused:
            screen.print(f"{len(refused)} rows were left out; their reasons stand in the file.")
        _warn_if_few(len(rows))
        screen.print(f"Every row's loss: {path}", soft_wrap=True)
    return found


def _harness(vm: Path, lineage: Trained, tasks: str, quiet: bool) -> list[dict[str, Any]]:
    from understudy.evals.harness import measure

    out = vm / "lm-eval"
    found = measure(_base(lineage), vm.absolute(), tasks, out)
    if not quiet:
        table = plain_table("task", "measure", "base", "VM", "VM - base", words=2)
        for one in found:
            row = [f"{value:.4f}" + (f" ± {error:.4f}" if error is not None else "") for value, error in
                   ((one.base, one.base_error), (one.vm, one.vm_error))]  # fmt: skip
            table.add_row(_plain(one.task), _plain(one.metric), *row, f"{one.vm - one.base:+.4f}")
        console().print(table)
        console().print(f"± is the harness' standard error. Its own results and logs: {out}", soft_wrap=True)
    return [asdict(one) for one in found]


def _base(lineage: Trained) -> Path:
    from understudy.errors import RunFolderError

    base = Path(lineage.base_path)
    if not base.is_dir():
        raise RunFolderError("the VM's base model is gone", where=str(base), remedy="put it back, or train again")
    return base


def _plain(text: str) -> str:
    """Text of unknown origin, without meaning for the terminal or its markup."""
    from rich.markup import escape

    return escape(visible(text))


def _warn_if_few(count: int) -> None:
    if count < _FEW:
        console().print(f"[yellow]{count} examples are few: the intervals are narrower than they should be.[/]")


def _interval(one: dict[str, Any]) -> str:
    if one["mean"] is None:
        return "open"
    return f"{one['mean']:.3f} ({_bound(one['low'])} to {_bound(one['high'])})"


def _gap(one: dict[str, Any]) -> str:
    if one["mean"] is None:
        return "open"
    return f"{one['mean']:+.3f} ({_bound(one['low'], '+')} to {_bound(one['high'], '+')})"


def _bound(value: float | None, sign: str = "") -> str:
    return "?" if value is None else f"{value:{sign}.3f}"
