"""Running a trainer: progress, checkpoints, going on after a stop, and what it took."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.training.job import Prepared, TrainProgress, first

COMPLETE = "complete"
"""Written into a checkpoint when all of it is there."""
# How often a watcher is told of a training.
_TOLD = 20


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a training was like."""

    losses: tuple[tuple[int, float], ...]
    """(step, training loss), of all sittings."""
    tokens: int
    tokens_per_second: float | None
    """In this sitting; None when it took no step."""


def fit(ready: Prepared, checkpoints: Path, batch: int, watch: Callable[[TrainProgress], None] | None) -> Fitted:
    """Train to the last step, from the last whole checkpoint if there is one.

    The first Ctrl-C finishes the step, keeps a checkpoint and raises KeyboardInterrupt; a second one stops at once.

    Args:
        ready: the trainer.
        checkpoints: where it keeps them.
        batch: places of the training in one step.
        watch: called some twenty times, with the mean loss since the last time.
    """
    trainer = ready.trainer
    read = _running(ready.lengths, batch)
    watcher = _callback(checkpoints, read, watch)
    trainer.add_callback(watcher)
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in {"PrinterCallback", "ProgressCallback"}:
            trainer.remove_callback(callback)
    _without_torn(checkpoints)
    last = max(_whole(checkpoints), key=_step, default=None)
    begun = _step(last) if last else 0
    with _interruptible(watcher):
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        seconds = time.monotonic() - started
    if watcher.stopped:
        raise KeyboardInterrupt
    steps = int(trainer.state.global_step)
    done = read(steps) - read(begun)
    history = [(int(log["step"]), float(log["loss"])) for log in trainer.state.log_history if "loss" in log]
    return Fitted(tuple(history), read(steps), done / seconds if done else None)


def _callback(checkpoints: Path, read: Callable[[int], int], watch: Callable[[TrainProgress], None] | None) -> Any:
    from transformers import TrainerCallback

    untold: list[float] = []

    class Watcher(TrainerCallback):  # type: ignore[misc]
        stopped = False

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if not (logs and "loss" in logs and watch and state.is_world_process_zero):
                return
            untold.append(float(logs["loss"]))
            step = state.global_step
            if step % max(1, state.max_steps // _TOLD) == 0 or step == state.max_steps:
                watch(TrainProgress(step, state.max_steps, sum(untold) / len(untold), read(step)))
                untold.clear()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                (checkpoints / f"checkpoint-{state.global_step}" / COMPLETE).touch()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.stopped:
                control.should_save = control.should_training_stop = True

    return Watcher()


class _interruptible:
    """Ctrl-C while training asks the watcher to stop after the step."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self._before: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._stop)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _stop(self, *_: Any) -> None:
        if self._watcher.stopped:
            raise KeyboardInterrupt
        self._watcher.stopped = True


def _running(lengths: list[int], batch: int) -> Callable[[int], int]:
    """How many tokens so many steps read."""
    sums = [0]
    for length in lengths:
        sums.append(sums[-1] + length)
    return lambda steps: sums[min(steps * batch, len(lengths))]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _whole(checkpoints: Path) -> list[Path]:
    return [path for path in checkpoints.glob("checkpoint-*") if (path / COMPLETE).is_file()]


def _without_torn(checkpoints: Path) -> None:
    """A process that was killed while it wrote a checkpoint leaves half of one."""
    if first():
        for path in set(checkpoints.glob("checkpoint-*")) - set(_whole(checkpoints)):
            shutil.rmtree(path)
