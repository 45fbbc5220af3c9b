"""SyGra: a workflow of three LLM nodes, as many records under way as the concurrency allows, no metadata."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "sygra"


def prepare(job: dict[str, Any]) -> Callable[[Path, Path], int]:
    """See `measure.py`."""
    os.environ["SYGRA_DISABLE_METADATA"] = "1"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its price list is otherwise fetched from the network
    os.chdir(job["folder"])  # it writes logs and reads .env where it is started
    import sygra

    logging.disable(logging.WARNING)
    model = {
        "name": job["model"],
        "model_type": "vllm",  # through litellm, its default; its own client opens a connection for each call
        "url": job["base_url"],
        "auth_token": "none",
        "parameters": job["sampling"],
        "delay": 0,  # milliseconds slept before each call, 100 unless told
    }

    def go(seeds: Path, folder: Path) -> int:
        texts = [json.loads(line) for line in seeds.read_text(encoding="utf-8").splitlines()]
        workflow = sygra.Workflow("overhead").source(texts)
        for name, prompt in job["prompts"].items():
            words = prompt.replace("{{ ", "{").replace(" }}", "}")
            workflow.llm(dict(model), [{"system": job["system"]}, {"user": words}], output=name)
        batch = job["concurrency"]
        rows = workflow.run(
            num_records=len(texts), output_dir=str(folder), batch_size=batch, checkpoint_interval=batch * 4
        )
        return sum(bool(row.get("answer")) for row in rows or ())

    return go
