"""What a VM says of where it came from, kept beside its weights as `understudy.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from understudy.errors import RunFolderError

LINEAGE = "understudy.json"
LEARNED = "learned.jsonl"
"""Beside it: what was learned from, one line a row with its id, its source and its tokens."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A VM and where it came from."""

    corpus: str | None
    """None: it learned from files alone."""
    corpus_digest: str | None
    recipe: str
    recipe_version: str
    base: str
    """Name and fingerprint of the weights it started from."""
    base_path: str
    method: str
    rows: int
    too_long: int
    """Rows left out because they are longer than `training.max_tokens`."""
    steps: int
    learning_rate: float
    seed: int
    losses: tuple[tuple[int, float], ...]
    """(step, training loss) of every step."""
    with_tools: int = 0
    """Rows left out because the base's chat template shows no tools."""
    objective: str = "sft"
    files: dict[str, str] = field(default_factory=dict)
    """Files that were learned from, with the digest of each."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows that were not learned from for other reasons, by reason."""
    tokens: int = 0
    """Tokens of all sequences that were learned from, repetitions counted."""
    tokens_per_second: float | None = None
    """In the last sitting; None: not measured."""
    training: dict[str, Any] = field(default_factory=dict)
    """The `training:` block as it was resolved."""
    merged_from: str | None = None
    """Of merged weights: the VM whose adapter went into them."""


def read_speaker(vm: Path) -> Trained:
    """The lineage of a VM that answers in words.

    Raises:
        RunFolderError: when the folder was not written by `train`, or holds a reward model, a classifier or an encoder.
    """
    trained = read_lineage(vm)
    if trained.objective not in {"sft", "dpo", "simpo"}:
        raise RunFolderError(
            f"learned `objective: {trained.objective}`, so it does not answer in words", where=str(vm),
            expected="a VM of `sft`, `dpo` or `simpo`", remedy="its README.md says how to load it",
        )  # fmt: skip
    return trained


def write_lineage(folder: Path, trained: Trained) -> None:
    """Keep it in a VM's folder."""
    (folder / LINEAGE).write_text(json.dumps(asdict(trained), indent=2) + "\n", encoding="utf-8")


def read_lineage(vm: Path) -> Trained:
    """The lineage of a VM folder.

    Raises:
        RunFolderError: when the folder was not written by `train`.
    """
    path = vm / LINEAGE
    if not path.is_file():
        raise RunFolderError(
            "not a VM: it has no understudy.json", where=str(vm), remedy="give the --out folder of `understudy train`"
        )
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        known = {one.name for one in fields(Trained)}
        losses = tuple((step, loss) for step, loss in said["losses"])
        return Trained(**{**{key: value for key, value in said.items() if key in known}, "losses": losses})
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"damaged: {error!r}", where=str(path), remedy="train the VM again") from error
