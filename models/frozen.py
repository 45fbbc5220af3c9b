"""An SM that was trained once, as `understudy sm` leaves it: its name, what it has seen, and that it is still itself.

`sm.json` stands beside the weights. Folders without one are models like any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ModelError, RecipeError
from understudy.models.folders import fingerprint
from understudy.recipe import Recipe
from understudy.sms import MAIN, VLLMSM, TransformersSM, VLLMServerSM

FROZEN = "sm.json"


@dataclass(frozen=True, slots=True)
class Frozen:
    """What is checked of such an SM."""

    name: str
    weights: str
    """Fingerprint of the folder."""
    seen: dict[str, tuple[int, str]]
    """Of each data set that it was trained on: bytes and digest of the file."""


def read_frozen(folder: Path) -> Frozen | None:
    """What `sm.json` says; None where there is none.

    Raises:
        ModelError: when it cannot be read.
    """
    path = folder / FROZEN
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        seen = {str(one["name"]): (int(one["bytes"]), str(one["digest"])) for one in said["trained_on"]}
        return Frozen(str(said["name"]), str(said["weights"]), seen)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"damaged: {error!r}", where=str(path), remedy="put the SM's folder back from a copy, or train a new SM"
        ) from error


def check_frozen(folder: Path) -> Frozen | None:
    """The same, after a look at whether the weights are still those that were trained.

    Raises:
        ModelError: when they are not.
    """
    frozen = read_frozen(folder)
    if frozen and (now := fingerprint(folder)) != frozen.weights:
        raise ModelError(
            f"the SM `{frozen.name}` has changed since it was trained", where=str(folder),
            expected=f"weights and tokenizer with fingerprint {frozen.weights}, found {now}",
            remedy="put the folder back from a copy; what was made of an SM is another model: remove its sm.json",
        )  # fmt: skip
    return frozen


def check_unseen(recipe: Recipe, seeds: Iterable[Path], given: bool = False) -> None:
    """That no SM of a recipe was trained on a file that seeds are read from.

    Only files as large as a data set that was learned from are read. SMs behind an endpoint are not known.

    Args:
        recipe: what names the SMs.
        seeds: the files.
        given: whether another SM stands in for the main one.

    Raises:
        RecipeError: naming SM, data set and file.
        ModelError: for a damaged `sm.json`.
    """
    found: dict[str, Frozen] = {}
    for name, spec in recipe.engines.items():
        if not isinstance(spec, TransformersSM | VLLMSM | VLLMServerSM) or (given and name == MAIN):
            continue
        if spec.path != "embedded" and (frozen := read_frozen(recipe.path(spec.path))):
            found[name] = frozen
    for file in seeds if found else ():
        size = file.stat().st_size
        for name, frozen in found.items():
            for data_set, (bytes_, digest) in frozen.seen.items():
                if bytes_ == size and digest == file_digest(file):
                    raise RecipeError(
                        f"the SM `{frozen.name}` was trained on this use case", where=str(file),
                        expected=f"seeds that it has not seen; this file is its training data set `{data_set}`",
                        remedy=f"take another model as `{name}`, or other seeds",
                    )  # fmt: skip


def file_digest(path: Path) -> str:
    """The blake2b-128 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
