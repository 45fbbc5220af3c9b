"""NeMo Data Designer: three LLM text columns over a seed dataset, without telemetry and metrics."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "data-designer"


def prepare(job: dict[str, Any]) -> Callable[[Path, Path], int]:
    """See `measure.py`."""
    os.environ["NEMO_TELEMETRY_ENABLED"] = "false"
    os.environ["DATA_DESIGNER_HOME"] = str(Path(job["folder"]) / "home")
    import data_designer.config as dd
    import pandas as pd
    from data_designer.interface import DataDesigner

    logging.getLogger().setLevel(logging.WARNING)
    provider = dd.ModelProvider(name="mock", endpoint=job["base_url"], provider_type="openai", api_key="none")
    inference = dd.ChatCompletionInferenceParams(max_parallel_requests=job["concurrency"], **job["sampling"])
    model = dd.ModelConfig(
        alias="sm", model=job["model"], provider="mock", inference_parameters=inference, skip_health_check=True
    )

    def go(seeds: Path, folder: Path) -> int:
        texts = pd.DataFrame([json.loads(line) for line in seeds.read_text(encoding="utf-8").splitlines()])
        builder = dd.DataDesignerConfigBuilder(model_configs=[model])
        builder.with_seed_dataset(dd.DataFrameSeedSource(df=texts))
        for name, prompt in job["prompts"].items():
            builder.add_column(
                dd.LLMTextColumnConfig(name=name, model_alias="sm", prompt=prompt, system_prompt=job["system"])
            )
        designer = DataDesigner(artifact_path=folder, model_providers=[provider], auto_configure_logging=False)
        designer.set_run_config(dd.RunConfig(otel_metrics_port=None, jinja_rendering_engine="native"))
        rows = designer.create(builder, num_records=len(texts), dataset_name="overhead").load_dataset()
        return int(rows["answer"].notna().sum())

    return go
