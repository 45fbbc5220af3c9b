"""`train`: from a corpus, or files of rows, to a VM's folder. Read this first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from understudy.corpus import RunFolder
from understudy.errors import RecipeError, RunFolderError
from understudy.lessons import CORPUS, ENCODERS, Training
from understudy.models.folders import fingerprint
from understudy.models.local import hush, leave_a_core
from understudy.models.merging import merge
from understudy.nouns import address
from understudy.recipe import Recipe
from understudy.recipe_file import load_recipe
from understudy.training import heads, preferences, retrieval, sft
from understudy.training.card import write_card
from understudy.training.curve import draw_losses
from understudy.training.data import Gathered, gather, order
from understudy.training.fitting import fit
from understudy.training.job import Job, Prepared, TrainProgress, base_path, first, needs
from understudy.training.lineage import LEARNED, Trained, write_lineage
from understudy.training.material import HEADED, Material, material
from understudy.training.preflight import Preflight


def train(
    source: Path,
    out: Path,
    watch: Callable[[TrainProgress], None] | None = None,
    *,
    seen: Callable[[Preflight], None] | None = None,
    restart: bool = False,
    **changes: Any,
) -> Trained:
    """Train a VM as a recipe's `training:` block says.

    A training that was stopped goes on from its last checkpoint when it is asked for again.

    Args:
        source: a corpus folder; or a recipe file, whose `training.data` then names files alone.
        out: where the VM goes; must be new or empty.
        watch: called some twenty times in all.
        seen: called with the figures of the rows, before the model is loaded.
        restart: throw away what an unfinished training of the same `out` left.
        changes: fields of the `training:` block to use instead.

    Raises:
        RecipeError: for a training that makes no sense.
        RunFolderError: for a missing corpus, a folder in the way, or an unfinished training of another kind.
        ModelError: for a missing base.
        UserError: when no row can be trained on.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError("is not empty", where=str(out), remedy="name a new folder with --out")
    lesson = _read(source, changes)
    if seen:
        seen(lesson.material.figures)
    plan, base = lesson.recipe.training, lesson.base
    building = out.with_name(f".{out.name}.training")
    version = f"{lesson.name}@{fingerprint(base)}"
    _begin(building, address(plan.model_dump(mode="json"), version, [row.id for row in lesson.material.rows]), restart)
    from datasets import disable_progress_bars
    from transformers import set_seed

    disable_progress_bars()
    set_seed(plan.seed)
    leave_a_core()
    job = Job(plan, base, lesson.material.rows, lesson.material.tokenizer, building / "checkpoints")
    ready = _prepared(job, lesson.material)
    found = fit(ready, job.checkpoints, plan.batch_size, watch)
    trained = Trained(
        corpus=str(source.resolve()) if lesson.digest else None,
        corpus_digest=lesson.digest,
        recipe=lesson.recipe.name,
        recipe_version=address(lesson.recipe.model_dump(mode="json")),
        base=version,
        base_path=str(base),
        method=plan.tuning,
        rows=len(job.rows),
        too_long=lesson.material.figures.too_long,
        with_tools=lesson.material.with_tools,
        steps=plan.steps,
        learning_rate=plan.rate,
        seed=plan.seed,
        losses=found.losses,
        objective=plan.objective,
        files=lesson.gathered.files,
        left_out=lesson.gathered.left_out,
        tokens=found.tokens,
        tokens_per_second=found.tokens_per_second,
        training=_at_home(lesson.recipe),
    )
    _finish(building, out, ready, job, trained, lesson)
    return trained


def check(source: Path, **changes: Any) -> tuple[Training, Preflight]:
    """What a training would see, without loading a model; arguments and errors as of `train`."""
    lesson = _read(source, changes)
    return lesson.recipe.training, lesson.material.figures


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A training before its model is loaded."""

    recipe: Recipe
    name: str
    base: Path
    gathered: Gathered
    digest: str | None
    """Of the corpus, if it is learned from."""
    material: Material


def _read(source: Path, changes: dict[str, Any]) -> _Lesson:
    with nullcontext() if source.suffix in {".yaml", ".yml"} else RunFolder.read(source) as folder:
        recipe = changed(folder.recipe if folder else load_recipe(source), changes)
        needs(("torch", "transformers", "datasets", "peft", "trl", "sentence_transformers"))
        name, base = base_path(recipe)
        gathered = gather(folder, recipe.training, recipe.folder)
        digest = folder.digest if folder and CORPUS in recipe.training.data else None
    hush()
    return _Lesson(recipe, name, base, gathered, digest, material(recipe.training, base, gathered.rows))


def _at_home(recipe: Recipe) -> dict[str, Any]:
    """The `training:` block with its paths made absolute: a VM does not know where its recipe was."""
    plan = recipe.training
    data = tuple(one if one == CORPUS else str(recipe.path(one)) for one in plan.data)
    replay = plan.replay and plan.replay.model_copy(update={"path": str(recipe.path(plan.replay.path))})
    return plan.model_copy(update={"data": data, "replay": replay}).model_dump(mode="json")


def _prepared(job: Job, found: Material) -> Prepared:
    objective = job.plan.objective
    if objective in ENCODERS:
        return retrieval.prepare(job, found.lengths)
    places = order(job.rows, found.lengths, job.plan)
    if objective == "sft":
        return sft.prepare(job, found.read, places)
    if objective in HEADED:
        return heads.prepare(job, found.read, places)
    return preferences.prepare(job, places, found.lengths)


def changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with other values in its `training:` block.

    Raises:
        RecipeError: when they make no sense.
    """
    given = recipe.training.model_dump() | {key: value for key, value in changes.items() if value is not None}
    try:
        return recipe.model_copy(update={"training": Training.model_validate(given)}).at(recipe.folder)
    except ValidationError as error:
        one = error.errors()[0]
        known = one.get("ctx", {})
        key = ".".join(map(str, known.get("at", one["loc"])))
        raise RecipeError(
            f"got {known.get('got', one['input'])!r}",
            where=f"training.{key}",
            expected=str(known.get("expected", one["msg"].removeprefix("Input should be "))),
        ) from error


def _begin(building: Path, identity: str, restart: bool) -> None:
    """Make the folder, or find in it the same training, unfinished."""
    said = building / "job"
    if first() and restart:
        shutil.rmtree(building, ignore_errors=True)
    if said.is_file() and said.read_text() != identity:
        raise RunFolderError(
            "holds another training that was not finished",
            where=str(building),
            remedy="finish that one with its own recipe, name another --out, or give --restart to throw it away",
        )
    if first():
        (building / "checkpoints").mkdir(parents=True, exist_ok=True)
        said.write_text(identity)


def _finish(building: Path, out: Path, ready: Prepared, job: Job, trained: Trained, lesson: _Lesson) -> None:
    """Write the VM whole, then give it its name."""
    vm, adapter = building / "vm", building / "adapter"
    saved = adapter if job.plan.merge else vm
    if first():  # what a process that was killed in here left would be mixed with what is written now
        for left in (vm, adapter):
            shutil.rmtree(left, ignore_errors=True)
    ready.save(saved)  # on every device: sharded weights are gathered here
    if not first():
        return
    if job.plan.merge:
        merge(job.base, adapter, job.base, vm)
    (vm / "training_args.bin").unlink(missing_ok=True)  # a pickle; what it says stands in the lineage
    job.tokenizer.save_pretrained(vm)
    with (vm / LEARNED).open("w", encoding="utf-8") as file:
        for row, length in zip(job.rows, lesson.material.lengths, strict=True):
            file.write(json.dumps({"id": row.id, "source": row.source, "tokens": length}, ensure_ascii=False) + "\n")
    write_lineage(vm, trained)
    write_card(vm, trained, lesson.recipe)
    draw_losses(trained.losses, vm / "loss.svg")
    if out.is_dir():
        out.rmdir()
    vm.rename(out)
    shutil.rmtree(building, ignore_errors=True)
