"""Encoders for search, by sentence-transformers: a retriever of queries and passages, and a reranker of pairs.

A retriever learns by in-batch softmax over cosines (as Promptagator, arXiv 2209.11755, with the cached loss of
arXiv 2101.06983), no batch holding a passage twice. A reranker learns labels of pairs by cross-entropy; pairs of a
corpus are all relevant, so passages that are near a query but not its own are mined for it (InPars, arXiv 2301.01820).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.training.job import Job, Prepared

# How many passages that are not its own are mined for a query.
_NEGATIVES = 3


def prepare(job: Job, lengths: list[int]) -> Prepared:
    """A trainer over the job's rows, of so many tokens each; batches are drawn by the job's seed."""
    trainer, save = _retriever(job) if job.plan.objective == "retriever" else _reranker(job)
    # Which rows a batch holds is the library's to say, so each place is counted as a mean row.
    mean = round(sum(lengths) / len(lengths))
    return Prepared(trainer, [mean] * (job.plan.steps * job.plan.batch_size), save)


def length(body: dict[str, Any], tokenizer: Any) -> int:
    """Tokens of a row's texts."""
    keys = ("anchor", "positive", "negative", "query", "passage")
    return sum(len(tokenizer.tokenize(body[key])) for key in keys if key in body)


def _retriever(job: Job) -> tuple[Any, Callable[[Path], None]]:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.sampler import BatchSamplers
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model = SentenceTransformer(str(job.base), local_files_only=True)
    keys = [key for key in ("anchor", "positive", "negative") if all(key in row.body for row in job.rows)]
    if len(job.rows) < job.plan.batch_size:
        raise UserError(
            f"{len(job.rows)} pairs are fewer than `training.batch_size`, {job.plan.batch_size}",
            remedy="lower it; a retriever learns from what else is in its batch",
        )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**job.arguments, batch_sampler=BatchSamplers.NO_DUPLICATES),
        train_dataset=Dataset.from_list([{key: row.body[key] for key in keys} for row in job.rows]),
        loss=CachedMultipleNegativesRankingLoss(model),
    )
    return trainer, lambda folder: model.save(str(folder), create_model_card=False)


def _reranker(job: Job) -> tuple[Any, Callable[[Path], None]]:
    from datasets import Dataset
    from sentence_transformers.cross_encoder import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
    )
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    model = CrossEncoder(str(job.base), num_labels=1, local_files_only=True)
    pairs = [{key: row.body[key] for key in ("query", "passage", "label")} for row in job.rows]
    if all(pair["label"] == pairs[0]["label"] for pair in pairs):
        pairs += mined(job)
    trainer = CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**job.arguments),
        train_dataset=Dataset.from_list([pair | {"label": float(pair["label"])} for pair in pairs]),
        loss=BinaryCrossEntropyLoss(model),
    )
    return trainer, lambda folder: model.save_pretrained(str(folder))


def mined(job: Job) -> list[dict[str, Any]]:
    """Passages near a query that are not its own, by the embedded encoder, as pairs with the label 0.

    Raises:
        UserError: when there is one passage alone.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    from understudy.models.embedder import minilm_path

    passages = {row.body["passage"] for row in job.rows}
    if len(passages) < 2:
        raise UserError(
            "all rows are of one passage, and all are relevant: there is nothing to tell apart",
            expected="rows with labels of 0 and 1, or several passages to mine from",
        )
    pairs = Dataset.from_list([{"query": row.body["query"], "passage": row.body["passage"]} for row in job.rows])
    found = mine_hard_negatives(
        pairs, SentenceTransformer(str(minilm_path()[1]), local_files_only=True),
        num_negatives=min(_NEGATIVES, len(passages) - 1), sampling_strategy="top",
        output_format="labeled-pair", verbose=False,
    )  # fmt: skip
    return [{"query": row["query"], "passage": row["passage"], "label": 0.0} for row in found if not row["label"]]
