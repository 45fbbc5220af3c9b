"""Several trainings of one corpus side by side: every combination of the values of some keys, scored alike.

Each arm is a VM of its own, trained and scored once; a sweep that was stopped goes on with the arm it was at. Where
the share of the rows is varied, a power law through the losses says what twice as many rows may bring.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.corpus import RunFolder, rows
from understudy.errors import RecipeError, RunFolderError
from understudy.evals.answering import Models
from understudy.evals.heldout import answer_loss
from understudy.evals.interval import Interval, paired_bootstrap
from understudy.nouns import address
from understudy.training.growth import Growth, growth
from understudy.training.job import TrainProgress
from understudy.training.lineage import Trained, read_lineage
from understudy.training.train import check, train

Changes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arm:
    """One training of a sweep and how it did."""

    name: str
    changes: Changes
    rows: int
    tokens: int
    steps: int
    last_loss: float
    """Of the training, at its last step."""
    held_out: tuple[float, ...]
    """Mean loss of the answer's tokens in each held-out example, in nats."""
    tokens_per_second: float | None

    @property
    def loss(self) -> float:
        """Mean over the held-out examples."""
        return sum(self.held_out) / len(self.held_out)


@dataclass(frozen=True, slots=True)
class Sweep:
    """All arms, and the base before any training."""

    corpus: str
    over: dict[str, tuple[Any, ...]]
    base: tuple[float, ...]
    """Loss of the base in each held-out example."""
    arms: tuple[Arm, ...]

    def gain(self, arm: Arm) -> Interval:
        """Loss of an arm minus the base's, with its 95 % interval; below zero is better."""
        return paired_bootstrap(list(arm.held_out), list(self.base))

    def growths(self) -> Iterator[tuple[Changes, Growth]]:
        """What more rows may bring, for each combination of the other keys with four shares or more."""
        groups: dict[str, list[Arm]] = {}
        for arm in self.arms:
            rest = {key: value for key, value in arm.changes.items() if key != "share"}
            groups.setdefault(json.dumps(rest, sort_keys=True), []).append(arm)
        for rest_, arms in groups.items():
            if len({arm.rows for arm in arms}) >= 4:
                yield json.loads(rest_), growth([arm.rows for arm in arms], [arm.held_out for arm in arms])


def combinations(over: dict[str, tuple[Any, ...]]) -> list[tuple[str, Changes]]:
    """A name and the changes of each arm, in the order of the values."""
    arms = []
    for values in itertools.product(*over.values()):
        changes = dict(zip(over, values, strict=True))
        name = "-".join(f"{key}={value}" for key, value in changes.items())
        safe = "".join(char if char.isalnum() or char in "=.-_" else "_" for char in name)
        arms.append((safe if len(safe) <= 100 else f"arm-{address(changes)[:12]}", changes))
    return arms


def sweep(
    corpus: Path,
    out: Path,
    over: dict[str, tuple[Any, ...]],
    common: Changes,
    say: Callable[[str], None] = lambda line: None,
    watch: Callable[[TrainProgress], None] | None = None,
) -> Sweep:
    """Train and score every combination; what is in `out` already is not made again.

    Args:
        corpus: a corpus folder with a test split.
        out: where the arms go.
        over: keys of the `training:` block, each with its values.
        common: changes for all arms.
        say: called with a line at the start of each arm.
        watch: called some twenty times in each arm.

    Raises:
        RecipeError: for a combination that makes no sense; nothing is then trained.
        RunFolderError: when the corpus has no test split, or `out` holds another sweep.
    """
    arms = combinations(over)
    with RunFolder.read(corpus) as folder:
        held_out = [rows.messages(row) for row in folder.rows("accepted", "test") if not row.get("tools")]
        digest = folder.digest
    if not held_out:
        raise RunFolderError(
            "has no test split", where=str(corpus), remedy="generate more examples, or raise `test_share` in the recipe"
        )
    for _, changes in arms:
        plan, _ = check(corpus, **common | changes)
        if plan.objective != "sft":
            raise RecipeError(f"objective: {plan.objective}", where="sweep", expected="`objective: sft`")
    _begin(out, {"corpus": digest, "over": over, "common": common})
    base: list[float] | None = _kept(out / "base.json")
    made = []
    for number, (name, changes) in enumerate(arms, start=1):
        home, scores = out / name, out / f"{name}.json"
        if (said := _kept(scores)) is None:
            say(f"{number}/{len(arms)} {name}")
            trained = read_lineage(home) if home.is_dir() else train(corpus, home, watch, **common | changes)
            if base is None:
                base = _losses(Path(trained.base_path), None, held_out)
                _keep(out / "base.json", base)
            said = asdict(_arm(name, changes, trained, _losses(Path(trained.base_path), home, held_out)))
            _keep(scores, said)
        made.append(Arm(**{**said, "held_out": tuple(said["held_out"])}))
    found = Sweep(str(corpus.resolve()), over, tuple(base or ()), tuple(made))
    _keep(out / "sweep.json", asdict(found))
    return found


def _arm(name: str, changes: Changes, trained: Trained, losses: list[float]) -> Arm:
    return Arm(
        name, changes, trained.rows, trained.tokens, trained.steps,
        trained.losses[-1][1] if trained.losses else float("nan"), tuple(losses), trained.tokens_per_second,
    )  # fmt: skip


def _losses(base: Path, vm: Path | None, held_out: list[list[dict[str, Any]]]) -> list[float]:
    models = Models(base, vm or base)
    with models.as_vm() as model:
        return [answer_loss(model, models.tokenizer, messages) for messages in held_out]


def _begin(out: Path, what: dict[str, Any]) -> None:
    mark = out / "what.json"
    text = json.dumps(what, sort_keys=True, default=list)
    if mark.is_file() and mark.read_text() != text:
        raise RunFolderError("holds another sweep", where=str(out), remedy="name another --out")
    if not mark.is_file() and out.is_dir() and any(out.iterdir()):
        raise RunFolderError("is not empty", where=str(out), remedy="name a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(text)


def _kept(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _keep(path: Path, value: Any) -> None:
    """Whole or not at all."""
    building = path.with_name(f".{path.name}")
    building.write_text(json.dumps(value, indent=2) + "\n")
    building.rename(path)
