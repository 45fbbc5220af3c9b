"""The recipe's `training:` block: what the VM learns, from which rows, and how; senseless combinations are errors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from understudy.sections import Strict, misplaced

Objective = Literal["sft", "dpo", "simpo", "outcome", "process", "soft", "retriever", "reranker"]
Method = Literal["lora", "rslora", "dora", "full"]
CORPUS = "corpus"
# Which objectives a key is for; for the others it must stay as it is.
_ONLY: dict[str, tuple[Objective, ...]] = {
    "packing": ("sft",),
    "answers": ("sft",),
    "replay": ("sft",),
    "drafts": ("sft",),
    "beta": ("dpo", "simpo"),
    "confidence": ("soft",),
    "accelerate": ("sft", "dpo", "simpo"),
    "merge": ("sft", "dpo", "simpo"),
}
ENCODERS: tuple[Objective, ...] = ("retriever", "reranker")
# LoRA wants about ten times the rate of full weights ("LoRA Without Regret", Thinking Machines, 2025); preferences a
# tenth of what supervision takes (Rafailov et al., arXiv 2305.18290, use 1e-6 with full weights).
_LORA_RATE, _FULL_RATE = 2e-4, 2e-5
_BETAS = {"dpo": 0.1, "simpo": 2.0}


class Replay(Strict):
    """General instructions that are mixed in, so that the VM does not unlearn what its base could do."""

    path: str
    """A file of conversations (.jsonl, .json or .parquet), relative to the recipe."""
    share: float = Field(0.1, gt=0, lt=1)
    """Share of the training rows that come from it."""


class Training(Strict):
    """How the VM learns from the corpus."""

    objective: Objective = "sft"
    """`sft`: to answer as the corpus does. `dpo`, `simpo`: to prefer the chosen of two answers, with a reference model
    or without. `outcome`, `process`: a reward model of whole answers, or of each step. `soft`: a classifier of soft
    labels. `retriever`, `reranker`: an encoder of queries and passages, or one that reads both together."""
    base: str = "embedded"
    """`embedded` (SmolLM2-135M-Instruct; for a retriever or reranker MiniLM), or the folder of a model."""
    data: tuple[str, ...] = Field((CORPUS,), min_length=1)
    """What is learned from: `corpus`, and files of rows (.jsonl, .json or .parquet), relative to the recipe."""
    drafts: Literal["accepted", "all"] = "accepted"
    """Which of the corpus' drafts; `all` learns from rejected ones too, which shows what the filters are worth."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of the rows that is used; a smaller share is part of a larger one."""
    source_cap: int | None = Field(None, ge=1)
    """Most rows from one document or file of seeds."""
    replay: Replay | None = None
    order: Literal["apart", "shuffled", "short-first"] = "apart"
    """`apart` keeps rows of one document and one agent from being neighbours; `short-first` goes by length once, then
    shuffles."""
    method: Method | None = None
    """A LoRA adapter on all linear layers, plain, rank-stabilised or weight-decomposed, or every weight. Null means
    `lora`; a retriever or reranker is small and trained whole."""
    merge: bool = False
    """Merge the adapter into the base's weights at the end; vLLM serves DoRA in no other way."""
    rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 16
    """LoRA rank, one of those that vLLM serves."""
    alpha: int = Field(32, ge=1)
    """LoRA scaling: updates are multiplied by alpha / rank, with `rslora` by alpha / sqrt(rank)."""
    learning_rate: float | None = Field(None, gt=0)
    """Null means 2e-4 for LoRA and 2e-5 for full weights, and a tenth of it for preferences."""
    steps: int = Field(200, ge=1)
    """Optimiser steps; rows are seen again when they run out."""
    batch_size: int = Field(4, ge=1)
    """Rows in a step, on all devices together."""
    max_tokens: int = Field(512, ge=16)
    """Longest training sequence; what is longer is left out and counted, never cut silently."""
    packing: bool = False
    """Put several rows into one sequence of up to `max_tokens`, each seeing itself alone; `batch_size` then counts
    sequences."""
    answers: Literal["last", "all"] = "last"
    """Whether the last answer of a conversation is learned, or every one."""
    beta: float | None = Field(None, gt=0)
    """How strongly preferences are told apart; null means 0.1 for `dpo`, 2 for `simpo`."""
    confidence: float = Field(0.0, ge=0, lt=1)
    """Weight of the auxiliary confidence loss (Burns et al., arXiv 2312.09390); 0 is cross-entropy alone."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Steps between two checkpoints, from which a stopped training goes on; null means ten in all."""
    accelerate: str | None = None
    """A configuration of accelerate for several GPUs: a file, or one that TRL ships, such as `multi_gpu` or `fsdp2`."""
    seed: int = 0
    """Random seed of the order of rows and of the adapter's first weights."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Training:
        for key, objectives in _ONLY.items():
            if self.objective not in objectives and getattr(self, key) != type(self).model_fields[key].default:
                raise misplaced((key,), str(getattr(self, key)), f"it only with `objective: {' | '.join(objectives)}`")
        if self.objective in ENCODERS and self.method not in {None, "full"}:
            raise misplaced(("method",), str(self.method), f"`full`: a {self.objective} is trained whole")
        if self.merge and self.tuning == "full":
            raise misplaced(("merge",), "true", "an adapter to merge; `method: full` has none")
        if self.tuning == "dora" and not self.merge and self.objective not in {"outcome", "process", "soft"}:
            raise misplaced(("method",), "dora", "`merge: true` beside it: vLLM serves no DoRA adapter")
        if self.drafts == "all" and CORPUS not in self.data:
            raise misplaced(("drafts",), "all", f"`{CORPUS}` under `data`")
        if len(set(self.data)) < len(self.data):
            raise misplaced(("data",), ", ".join(self.data), "each file once")
        return self

    @property
    def tuning(self) -> Method:
        """The method, chosen or not."""
        return self.method or ("full" if self.objective in ENCODERS else "lora")

    @property
    def rate(self) -> float:
        """The learning rate, given or not."""
        usual = _FULL_RATE if self.tuning == "full" else _LORA_RATE
        return self.learning_rate or (usual / 10 if self.objective in _BETAS else usual)

    @property
    def strength(self) -> float:
        """`beta`, given or not."""
        return self.beta or _BETAS[self.objective]
