"""What `understudy eval` does with task files: base, VM, other VMs and the SM on the same held-out rows."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.evals.interval import Interval
    from understudy.evals.task_file import Task
    from understudy.evals.task_measures import Measured
    from understudy.evals.tasks import Case, Said, Speaker
    from understudy.training.lineage import Trained

Say = Callable[[str, int, int], None]
"""Called with (what, done, all)."""
Row = dict[str, Any]

_WITH = ("understudy", "torch", "transformers", "peft", "tokenizers")
_SEED = 0


@dataclass
class Work:
    """One task and what was said to it so far."""

    task: Task
    cases: list[Case]
    refused: list[tuple[int, str]]
    overlap: list[Case]
    said: dict[str, Said] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def prepare(files: Sequence[Path], lineages: Sequence[Trained], *, keep_overlap: bool) -> list[Work]:
    """Read tasks and rows, and see that no row was learned from; no model is loaded yet.

    Raises:
        UserError: for a bad task file, two of one name, or rows that a VM has learned from.
    """
    from understudy.errors import UserError
    from understudy.evals.task_file import load_task
    from understudy.evals.tasks import cases, overlap

    tasks = [load_task(file) for file in files]
    for place, task in enumerate(tasks):
        if task.name in {one.name for one in tasks[:place]}:
            raise UserError(f"a second task of the name `{task.name}`", where=str(files[place]), remedy="rename it")
    found = []
    for task in tasks:
        rows, refused = cases(task)
        known = overlap(rows, (talk for lineage in lineages for talk in learned(lineage)))
        if known and not keep_overlap:
            raise UserError(
                f"{len(known)} of {len(rows)} rows have a prompt that stands in the training rows",
                where=f"{task.path}:{known[0].line}",
                remedy="take them out, or name rows that are held out; --keep-overlap measures all the same",
            )
        found.append(Work(task, rows, refused, known))
    return found


def learned(lineage: Trained) -> Iterator[list[Row]]:
    """The conversations that a VM may have learned from: its corpus' train split, and its files."""
    from understudy.corpus import RunFolder
    from understudy.corpus.conversations import SUFFIXES, read_conversations
    from understudy.corpus.rows import messages

    if lineage.corpus and Path(lineage.corpus).is_dir():
        with RunFolder.read(Path(lineage.corpus)) as folder:
            for row in folder.rows("accepted", "train"):
                yield messages(row)
    for file in map(Path, lineage.files):
        if file.suffix in SUFFIXES and file.is_file():
            for row in read_conversations(file)[0]:
                yield row["messages"]


def ask_pair(works: Sequence[Work], base: Path, vm: Path, names: dict[str, tuple[str, str]], say: Say) -> None:
    """Ask a base and its VM, or one of them; `names` says as whom, and what weights that is."""
    from understudy.evals.answering import Models

    models = Models(base, vm)
    for role, (name, identity) in names.items():
        with models.as_base() if role == "base" else models.as_vm() as model:
            for work in works:
                _ask(work, name, identity, models.answering(model), say)


def ask_sm(works: Sequence[Work], corpus: str, say: Say) -> None:
    """Ask the SM that wrote a corpus.

    Raises:
        ModelError: when it is missing or cannot do what a task needs.
    """
    from understudy.corpus import RunFolder
    from understudy.evals.sm_answering import Spoken
    from understudy.models import open_sm

    with RunFolder.read(Path(corpus)) as folder:
        recipe = folder.recipe
    with asyncio.Runner() as runner:
        sm = runner.run(open_sm(recipe))
        try:
            for work in works:
                _ask(work, "SM", sm.identity, Spoken(sm, runner), say)
        finally:
            runner.run(sm.aclose())


def _ask(work: Work, name: str, identity: str, speaker: Speaker, say: Say) -> None:
    from understudy.evals.tasks import ask

    started = time.monotonic()
    work.said[name] = ask(work.task, work.cases, speaker, seed=_SEED, watch=partial(say, f"{work.task.name}: {name}"))
    work.identity[name] = identity
    work.seconds[name] = round(time.monotonic() - started, 2)


def result(work: Work, vm: str) -> Row:
    """All that there is to say of a task: figures with their intervals, and what was said row by row."""
    from understudy.evals.tasks import measure

    ordered = sorted(work.said, key=lambda name: name == "SM")
    measured = {name: measure(work.task, work.cases, work.said[name]) for name in ordered}
    return {
        "task": work.task.model_dump(exclude_none=True),
        "data": {
            "path": str(work.task.path),
            "sha256": hashlib.sha256(work.task.path.read_bytes()).hexdigest(),
            "rows": len(work.cases),
            "refused": [{"line": line, "reason": reason} for line, reason in work.refused],
            "overlap": [case.line for case in work.overlap],
        },
        "versions": versions(),
        "interval": {"share": 0.95, "rounds": 2000, "seed": 0},
        "lower_is_better": measured[vm].lower_is_better,
        "systems": {name: _system(work, name, vm, measured) for name in measured},
        "rows": [_row(work, place, measured) for place in range(len(work.cases))],
    }


def _system(work: Work, name: str, vm: str, measured: dict[str, Measured]) -> Row:
    said: Row = {
        "identity": work.identity[name],
        "seconds": work.seconds[name],
        "values": {stat: plain(one) for stat, one in measured[name].values().items()},
    }
    if name != vm:
        said["vm_minus_this"] = {stat: plain(one) for stat, one in measured[vm].minus(measured[name]).items()}
    return said | {"details": measured[name].details}


def _row(work: Work, place: int, measured: dict[str, Measured]) -> Row:
    case = work.cases[place]
    row: Row = {"line": case.line, "prompt": list(case.prompt.messages), "reference": case.reference}
    for name, said in work.said.items():
        row[name] = dict(measured[name].rows[place])
        if said.replies:
            row[name]["said"] = list(said.replies[place])
        if said.scores:
            row[name]["scores"] = list(said.scores[place])
    return row


def plain(interval: Interval) -> Row:
    """An interval for JSON, which has neither NaN nor infinity."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(interval).items()}


def versions() -> dict[str, str]:
    """Of the libraries that figures depend on."""
    found = {}
    for name in _WITH:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def labels(paths: Sequence[Path]) -> list[str]:
    """What other VMs are called: their folder's name, or the path where two have one name."""
    names = [path.name for path in paths]
    taken = {"base", "VM", "SM"} | {name for name in names if names.count(name) > 1}
    return [str(path) if path.name in taken else path.name for path in paths]


def save(path: Path, value: Any) -> None:
    """Write JSON so that a name that exists holds all of it.

    Raises:
        StorageError: when the disk is full or fails.
    """
    from understudy.corpus.storage import storage_errors

    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(path)
