"""Known benchmarks, measured by the lm-evaluation-harness in a process of its own.

It is no dependency: it may live in another environment. What it measured is kept as it wrote it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import ModelError

VARIABLE = "UNDERSTUDY_LM_EVAL"


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one task, of base and VM, each with its standard error where the harness gives one."""

    task: str
    metric: str
    base: float
    vm: float
    base_error: float | None
    vm_error: float | None


def command() -> list[str]:
    """How the harness is called: what `UNDERSTUDY_LM_EVAL` says, or `lm_eval` on the PATH.

    Raises:
        ModelError: when there is none, saying how to install it.
    """
    words = shlex.split(os.environ.get(VARIABLE, "")) or ["lm_eval"]
    found = shutil.which(words[0])
    if found is None:
        raise ModelError(
            f"no command `{words[0]}`: --lm-eval needs the lm-evaluation-harness",
            remedy="`pip install 'lm-eval[hf]' peft` here, or in another environment whose `lm_eval` "
            f"the variable {VARIABLE} then names",
        )
    return [found, *words[1:]]


def measure(base: Path, vm: Path, tasks: str, out: Path) -> list[Difference]:
    """Run the tasks on base and VM; `out` keeps `base-results.json`, `vm-results.json` and the harness' logs.

    Args:
        base: folder of the base's weights.
        vm: folder of the adapter, or of weights of its own.
        tasks: their names or YAML files, with commas between them.
        out: a folder, made if need be.

    Raises:
        ModelError: when the harness is missing or fails.
    """
    called = command()
    out.mkdir(parents=True, exist_ok=True)
    adapter = (vm / "adapter_config.json").is_file()
    arguments = {"base": f"pretrained={base}", "vm": f"pretrained={base},peft={vm}" if adapter else f"pretrained={vm}"}
    said = {name: _run(called, given, tasks, out, name) for name, given in arguments.items()}
    return _differences(said["base"], said["vm"])


def _run(called: list[str], arguments: str, tasks: str, out: Path, name: str) -> dict[str, Any]:
    fresh = out / f".{name}"
    shutil.rmtree(fresh, ignore_errors=True)
    log = out / f"{name}.log"
    words = [*called, "--model", "hf", "--model_args", arguments, "--tasks", tasks, "--output_path", str(fresh)]
    try:
        with open(log, "wb") as file:
            ended = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    except OSError as error:
        raise ModelError(f"cannot be started: {error.strerror}", where=words[0]) from error
    written = sorted(fresh.rglob("results*.json"))
    if ended.returncode or not written:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise ModelError(
            f"the lm-evaluation-harness failed on {name}, exit code {ended.returncode}: {' '.join(last)[:300]}",
            where=str(log),
            remedy="read that file; tasks that are downloaded need HF_HUB_OFFLINE=0 in the environment",
        )
    kept = out / f"{name}-results.json"
    written[-1].replace(kept)
    shutil.rmtree(fresh)
    results: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return results


def _differences(base: dict[str, Any], vm: dict[str, Any]) -> list[Difference]:
    """The figures that both have; a metric is called `name,filter` there, and its error `name_stderr,filter`."""
    found = []
    for task, figures in sorted(vm["results"].items()):
        other = base["results"].get(task, {})
        for metric, value in sorted(figures.items()):
            name, _, kind = metric.partition(",")
            if not _is_figure(value) or not _is_figure(other.get(metric)) or not kind or name.endswith("_stderr"):
                continue
            error = f"{name}_stderr,{kind}"
            errors = [one.get(error) if _is_figure(one.get(error)) else None for one in (other, figures)]
            found.append(Difference(task, metric, float(other[metric]), float(value), *errors))
    return found


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
