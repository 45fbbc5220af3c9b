"""Distilabel: a pipeline of three `TextGeneration` steps on `OpenAILLM`, without its cache.

Each step is a process that sends a batch at once and waits for all of it; the three work at the same time, so
each gets a third of the concurrency. To let them work one after another with all of it
(`load_groups="sequential_step_execution"`) hangs in this version when there is more than one batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "distilabel"
_COLUMNS = {"persona": ["text"], "instruction": ["text", "persona"], "answer": ["text", "instruction"]}


def prepare(job: dict[str, Any]) -> Callable[[Path, Path], int]:
    """See `measure.py`."""
    os.environ["DISTILABEL_LOG_LEVEL"] = "WARNING"
    import datasets
    import openai  # noqa: F401  # so that the steps' processes, which are forked, need not
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps.tasks import TextGeneration

    sampling = dict(job["sampling"])
    sampling["max_new_tokens"] = sampling.pop("max_tokens")
    batch = max(1, job["concurrency"] // len(job["prompts"]))

    def go(seeds: Path, folder: Path) -> int:
        # A dataset, since it writes the rows of a list into its pipeline.yaml, again and again.
        texts = datasets.Dataset.from_list([json.loads(line) for line in seeds.open(encoding="utf-8")])
        with Pipeline(name="overhead", cache_dir=folder, enable_metadata=False) as pipeline:
            last = None
            for name, prompt in job["prompts"].items():
                step = TextGeneration(
                    name=name,
                    llm=OpenAILLM(
                        base_url=job["base_url"], model=job["model"], api_key="none", generation_kwargs=sampling
                    ),
                    system_prompt=job["system"],
                    template=prompt,
                    columns=_COLUMNS[name],
                    input_batch_size=batch,
                    output_mappings={"generation": name, "model_name": f"{name}_model"},
                    add_raw_input=False,
                    add_raw_output=False,
                )
                if last is not None:
                    last.connect(step)
                last = step
        rows = pipeline.run(use_cache=False, dataset=texts, dataset_batch_size=batch)["default"]["train"]
        return sum(row is not None for row in rows["answer"])

    return go
