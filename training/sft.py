"""Supervised fine-tuning: TRL's trainer over sequences that were checked before, in an order that is written down.

Where several are packed into one, each sees itself alone: transformers tells them apart by their positions.
"""

from __future__ import annotations

from typing import Any

from understudy.training.job import Job, Prepared
from understudy.training.tokens import Sequence


def prepare(job: Job, sequences: list[Sequence], places: list[int]) -> Prepared:
    """A trainer over `sequences` in the order of `places`.

    Args:
        job: the training.
        sequences: what can be learned.
        places: which of them each place of the training has; `steps` times `batch_size` of them.
    """
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    plan = job.plan
    rows: dict[str, list[Any]] = {
        "input_ids": [one.ids for one in sequences], "labels": [one.labels for one in sequences],
    }  # fmt: skip
    lengths = [len(sequences[place].ids) for place in places]
    if plan.packing:
        rows, lengths = _packed(sequences, places, plan.max_tokens, plan.steps * plan.batch_size)
        places = list(range(len(lengths)))
    settings = SFTConfig(
        **job.arguments, max_length=None, padding_free=plan.packing, train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(job.base, dtype=job.dtype, local_files_only=True, use_safetensors=True)
    trainer = SFTTrainer(
        model=model, args=settings, train_dataset=Dataset.from_dict(rows).select(places),
        processing_class=job.tokenizer, peft_config=job.lora(),
    )  # fmt: skip
    return Prepared(trainer, lengths, lambda folder: trainer.save_model(str(folder)))


def _packed(
    sequences: list[Sequence], places: list[int], most: int, wanted: int
) -> tuple[dict[str, list[Any]], list[int]]:
    """So many packs of at most so many tokens, filled in order of `places`, which begin anew when they run out."""
    from itertools import cycle

    packs: list[list[int]] = [[]]
    full = 0
    for place in cycle(places):
        length = len(sequences[place].ids)
        if full + length > most:
            if len(packs) == wanted:
                break
            packs.append([])
            full = 0
        packs[-1].append(place)
        full += length
    rows = {
        "input_ids": [[token for place in pack for token in sequences[place].ids] for pack in packs],
        "labels": [[label for place in pack for label in sequences[place].labels] for pack in packs],
        "seq_lengths": [[len(sequences[place].ids) for place in pack] for pack in packs],
    }
    return rows, [len(ids) for ids in rows["input_ids"]]
