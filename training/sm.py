"""The SM's own training: once, on generic data sets, to continue a small sample; then its folder is frozen.

A use case takes the SM as it is and trains a VM of its own. `sm.json` beside the weights names the data sets that were
learned from, so that none of them is taken for a use case (`models/frozen.py` looks).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from understudy import __version__
from understudy.errors import RecipeError, RunFolderError, UserError
from understudy.lessons import Training
from understudy.models.folders import fingerprint
from understudy.models.frozen import FROZEN, file_digest
from understudy.nouns import address
from understudy.recipe import Recipe
from understudy.training.continuation import Conversation, DataSet, continuations, read_data_sets, split
from understudy.training.data import Row
from understudy.training.job import TrainProgress, base_path, needs
from understudy.training.lineage import LINEAGE, read_lineage, write_lineage
from understudy.training.material import material
from understudy.training.train import changed, train

CONVERSATIONS = "conversations.jsonl"
# What an SM's training is; the rest of the block may be chosen.
_SETTLED = ("objective", "data", "merge", "drafts", "base", "accelerate", "answers")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Part:
    """One data set's part in the training or in the measurement."""

    name: str
    digest: str
    """Of its file."""
    bytes: int
    rows_digest: str
    """Of its rows, in any order."""
    rows: int
    conversations: int
    too_long: int
    """Conversations left out because they are longer than `training.max_tokens`."""


@dataclass(frozen=True, slots=True)
class TrainedSM:
    """An SM, and what it learned; `sm.json` holds the same."""

    name: str
    base: str
    """Name and fingerprint of the weights that it started from."""
    weights: str
    """Fingerprint of its own."""
    shown: int
    """Rows of a sample."""
    new: int
    """Rows that continue it."""
    draws: int
    """Conversations that were made of each data set."""
    seed: int
    trained_on: tuple[Part, ...]
    held_out: tuple[Part, ...]
    loss: dict[str, Any]
    """On the conversations of the held-out data sets: mean negative log-likelihood of an answer token, in nats, of
    `base` and `sm`; `gap`, SM minus base, with its 95 % interval over conversations; both by data set (`by_set`)."""


def train_sm(
    data_sets: list[Path],
    out: Path,
    name: str,
    base: str = "embedded",
    *,
    shown: int = 8,
    new: int = 8,
    draws: int = 32,
    held_out: tuple[str, ...] = (),
    share: float = 0.2,
    restart: bool = False,
    seen: Callable[[tuple[Part, ...], tuple[Part, ...]], None] | None = None,
    watch: Callable[[TrainProgress], None] | None = None,
    **changes: Any,
) -> TrainedSM:
    """Train an SM to continue samples, measure it on data sets that it has not seen, and freeze it.

    A training that was stopped goes on when it is asked for again.

    Args:
        data_sets: files of rows, each a data set.
        out: where the SM goes; must be new or empty.
        name: what it is called in recipes' records.
        base: `embedded`, or the folder of a model.
        shown: rows of a sample.
        new: rows that continue it.
        draws: conversations to make of each data set.
        held_out: data sets to hold out, by name; if there are none, they are drawn.
        share: of the data sets to draw, at least one.
        restart: throw away what an unfinished training of the same `out` left.
        seen: called with what is learned from and what is held out, before the model is loaded.
        watch: called with every logged step.
        changes: fields of the `training:` block; 2,048 tokens and shuffled rows unless given.

    Raises:
        UserError: for data sets that cannot be used, each named.
        RecipeError: for a training that makes no sense.
        RunFolderError: for a folder in the way; an SM is trained once.
        ModelError: for a missing base.
    """
    _check_free(out)
    if not _NAME.fullmatch(name):
        raise UserError(f"an SM cannot be called {name!r}", expected="letters, digits, `.`, `_` and `-`")
    needs(("torch", "transformers", "datasets", "peft", "trl"))
    recipe = _recipe(name, base, changes)
    plan = recipe.training
    called, start = base_path(recipe)
    learned, tested = split(read_data_sets(data_sets), held_out, share, plan.seed)
    taught = [_part(one, continuations(one, shown, new, draws, plan.seed), plan, start) for one in learned]
    # Each row of a held-out data set once: the interval takes conversations to have nothing in common.
    asked = [
        _part(one, continuations(one, shown, new, max(1, min(draws, len(one.rows) // (shown + new))), plan.seed), plan,
              start)
        for one in tested
    ]  # fmt: skip
    if seen:
        seen(tuple(part for part, _ in taught), tuple(part for part, _ in asked))
    building = out.with_name(f".{out.name}.sm")
    parts = [asdict(part) for part, _ in (*taught, *asked)]
    _begin(building, address(name, plan.model_dump(mode="json"), fingerprint(start), shown, new, draws, parts), restart)
    weights = building / "weights"
    if not weights.is_dir():
        told = "".join(json.dumps(talk, ensure_ascii=False) + "\n" for _, talks in taught for talk in talks)
        (building / CONVERSATIONS).write_text(told, encoding="utf-8")
        block = plan.model_dump(mode="json") | {"data": [CONVERSATIONS]}
        (building / "recipe.yaml").write_text(json.dumps({**_shell(name), "training": block}))
        train(building / "recipe.yaml", weights, watch)
    made = TrainedSM(
        name, f"{called}@{fingerprint(start)}", fingerprint(weights), shown, new, draws, plan.seed,
        tuple(part for part, _ in taught), tuple(part for part, _ in asked), _measured(start, weights, asked),
    )  # fmt: skip
    _freeze(building, weights, out, made)
    return made


def _check_free(out: Path) -> None:
    if (out / FROZEN).is_file():
        raise RunFolderError(
            "holds an SM, and an SM is trained once", where=str(out),
            remedy="use it as it is (`sm: {backend: transformers, path: …}`), or name a new folder for another one",
        )  # fmt: skip
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError("is not empty", where=str(out), remedy="name a new folder with --out")


def _shell(name: str) -> dict[str, Any]:
    """The keys that every recipe has; no corpus is made."""
    return {"name": name, "seeds": [{"path": CONVERSATIONS}], "accept": 1}


def _recipe(name: str, base: str, changes: dict[str, Any]) -> Recipe:
    given = {key: value for key, value in changes.items() if value is not None}
    if fixed := next((key for key in _SETTLED if key in given), None):
        raise RecipeError(
            "is settled for an SM: it learns to continue samples, all weights in one folder",
            where=f"training.{fixed}", expected=f"other keys than {', '.join(_SETTLED)}",
        )  # fmt: skip
    whole = given.get("method") == "full"
    path = base if base == "embedded" else str(Path(base).expanduser().resolve())
    settled = {"base": path, "data": (CONVERSATIONS,), "merge": not whole, "answers": "all"}
    return changed(Recipe.model_validate(_shell(name)), {"max_tokens": 2048, "order": "shuffled", **given, **settled})


def _part(one: DataSet, talks: list[Conversation], plan: Training, base: Path) -> tuple[Part, list[Conversation]]:
    """Those conversations of a data set that a sequence can hold."""
    rows = tuple(Row(address(talk), talk, one.name, one.name) for talk in talks)
    try:
        found = material(plan, base, rows)
    except UserError as error:
        raise UserError(
            f"data set `{one.name}`: {error.message}", where=error.where or str(one.path), expected=error.expected,
            remedy=f"{error.remedy}, or show and ask for fewer rows" if error.remedy else None,
        ) from error  # fmt: skip
    part = Part(
        one.name, one.digest, one.bytes, one.rows_digest, len(one.rows), len(found.rows), found.figures.too_long
    )
    return part, [row.body for row in found.rows]


def _begin(building: Path, identity: str, restart: bool) -> None:
    """Make the folder, or find in it the same training, unfinished."""
    said = building / "identity"
    if restart:
        shutil.rmtree(building, ignore_errors=True)
    if said.is_file() and said.read_text() != identity:
        raise RunFolderError(
            "holds the training of another SM that was not finished", where=str(building),
            remedy="finish that one with its own command, name another --out, or give --restart to throw it away",
        )  # fmt: skip
    building.mkdir(parents=True, exist_ok=True)
    said.write_text(identity)


def _measured(base: Path, sm: Path, asked: list[tuple[Part, list[Conversation]]]) -> dict[str, Any]:
    from understudy.evals.answering import Models
    from understudy.evals.heldout import compare

    talks = {f"{part.name}:{place}": talk["messages"] for part, found in asked for place, talk in enumerate(found)}
    found = compare(Models(base, sm), talks, generate=0)
    by_set = {}
    for part, _ in asked:
        own = [one for one in found.per_example if one["example"].rpartition(":")[0] == part.name]
        sums = {"base": sum(one["base_loss"] for one in own), "sm": sum(one["vm_loss"] for one in own)}
        by_set[part.name] = {side: value / len(own) for side, value in sums.items()}
    return {"base": found.loss.base, "sm": found.loss.vm, "gap": asdict(found.loss.gap), "by_set": by_set}


def _freeze(building: Path, weights: Path, out: Path, made: TrainedSM) -> None:
    """Write down what it is, take the right to write from its files, and give the folder its name."""
    trained, home = read_lineage(weights), str((out / CONVERSATIONS).resolve())
    digest = file_digest(building / CONVERSATIONS)
    for name in (FROZEN, CONVERSATIONS, LINEAGE, "README.md"):
        (weights / name).unlink(missing_ok=True)  # what was stopped here before may have left them without that right
    # The lineage names the conversations where they will be.
    write_lineage(weights, replace(trained, files={home: digest}, training={**trained.training, "data": [home]}))
    (weights / FROZEN).write_text(json.dumps(asdict(made), indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(building / CONVERSATIONS, weights / CONVERSATIONS)
    _write_card(weights, made)
    for file in weights.rglob("*"):
        if file.is_file():
            file.chmod(0o444)
    if out.is_dir():
        out.rmdir()
    weights.rename(out)
    shutil.rmtree(building, ignore_errors=True)


def _write_card(folder: Path, made: TrainedSM) -> None:
    gap = made.loss["gap"]
    front = ModelCardData(
        library_name="transformers", base_model=made.base.partition("@")[0], base_model_relation="finetune",
        tags=["understudy", "tabular"], pipeline_tag="text-generation",
    ).to_yaml()  # fmt: skip
    rows = [f"| {one.name} | learned from | {one.rows} | {one.conversations} | |" for one in made.trained_on]
    for one in made.held_out:
        loss = made.loss["by_set"][one.name]
        rows.append(
            f"| {one.name} | held out | {one.rows} | {one.conversations} | {loss['base']:.3f} to {loss['sm']:.3f} |"
        )
    table = "\n".join(rows)
    (folder / "README.md").write_text(
        f"---\n{front}\n---\n\n# {made.name}\n\nAn SM, trained once with Understudy {__version__} from `{made.base}` "
        f"to write {made.new} more rows like {made.shown} that it is shown. A use case takes it as it is; no data set "
        "of this table that it learned from may be one.\n\n"
        f"| data set | | rows | conversations | loss of base and SM |\n| --- | --- | ---: | ---: | --- |\n{table}\n\n"
        f"On all held-out data sets the loss of an answer token changed by {gap['mean']:+.3f} nats (95 % interval "
        f"{gap['low']:+.3f} to {gap['high']:+.3f}, {gap['n']} conversations).\n\n![Training loss by step](loss.svg)\n",
        encoding="utf-8",
    )  # fmt: skip
