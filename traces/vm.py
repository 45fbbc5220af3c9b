"""What a VM made of a corpus, example by example, as its folder tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.corpus import RunFolder
from understudy.errors import RunFolderError


@dataclass(frozen=True, slots=True)
class Learned:
    """A VM beside the corpus that is looked at."""

    name: str
    same: bool
    """Whether it was trained on the corpus as it is now."""
    rows: int
    """How many it learned from."""
    steps: int
    found: dict[str, dict[str, Any]]
    """What `understudy eval` measured, by example: losses, and of some the answers; empty before it was run."""


def learned(vm: Path, corpus: Path) -> Learned:
    """Read a VM folder, as `understudy train` and `understudy eval` write it.

    Raises:
        RunFolderError: when it is none.
    """
    lineage = _read(vm / "understudy.json")
    scores = _read(vm / "eval.json") if (vm / "eval.json").exists() else {"per_example": []}
    try:
        with RunFolder.read(corpus) as folder:
            same = folder.digest == lineage["corpus_digest"]
        found = {str(one["example"]): dict(one) for one in scores["per_example"]}
        return Learned(vm.name, same, int(lineage["rows"]), int(lineage["steps"]), found)
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"is not as `understudy train` writes it: {error!r}", where=str(vm), remedy="train or evaluate it again"
        ) from error


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"cannot be read: {error}", where=str(path), expected="a VM folder, as `understudy train` writes it"
        ) from error
