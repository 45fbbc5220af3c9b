"""Learning from preferences: DPO (Rafailov et al., arXiv 2305.18290), or SimPO without a reference model.

SimPO (Meng et al., arXiv 2405.14734) compares the mean log-probability of an answer's tokens, with a margin of half of
`beta`; the reference model of DPO is the base, by way of the adapter switched off.
"""

from __future__ import annotations

import os
from typing import Any

from understudy.training.job import Job, Prepared


def prepare(job: Job, places: list[int], lengths: list[int]) -> Prepared:
    """A trainer over the job's pairs in the order of `places`; `lengths` are each pair's tokens."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    plan = job.plan
    model = AutoModelForCausalLM.from_pretrained(job.base, dtype=job.dtype, local_files_only=True, use_safetensors=True)
    pairs = Dataset.from_list([_as_turns(row.body) for row in job.rows]).select(places)
    settings: dict[str, Any] = {
        **job.arguments, "max_length": None, "beta": plan.strength, "train_sampling_strategy": "sequential",
    }  # fmt: skip
    common = {"model": model, "train_dataset": pairs, "processing_class": job.tokenizer, "peft_config": job.lora()}
    if plan.objective == "dpo":
        from trl import DPOConfig, DPOTrainer

        trainer = DPOTrainer(args=DPOConfig(**settings), **common)
    else:
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        alone = {"loss_type": "simpo", "cpo_alpha": 0.0, "simpo_gamma": plan.strength / 2}
        trainer = CPOTrainer(args=CPOConfig(**settings | {"max_length": plan.max_tokens}, **alone), **common)
    return Prepared(trainer, [lengths[place] for place in places], lambda folder: trainer.save_model(str(folder)))


def _as_turns(body: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """`prompt`, `chosen` and `rejected` as lists of turns; plain texts become one turn each."""
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    return {key: as_turns(body[key], role) for key, role in roles.items()}


def as_turns(value: Any, role: str) -> list[dict[str, str]]:
    """A text as one turn of `role`; a list of turns as it is, with role and content alone."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return [{"role": str(turn.get("role", role)), "content": str(turn["content"])} for turn in value]
