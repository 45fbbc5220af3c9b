"""Models with a head in place of words: reward models of answers and of steps, and a classifier of soft labels.

An outcome reward model says how likely an answer is right, at its last token (Cobbe et al., arXiv 2110.14168). A
process reward model says it of each step, at the step's last token (Lightman et al., arXiv 2305.20050; labels by
rollouts: Wang et al., arXiv 2312.08935). TRL has no trainer for either; transformers' own does. A classifier learns
soft labels by cross-entropy, with the auxiliary confidence loss if the recipe wants it (`weak_to_strong.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.training.job import Job, Prepared
from understudy.training.preferences import as_turns
from understudy.training.tokens import IGNORED
from understudy.training.weak_to_strong import soft_loss

SEPARATOR = "\n"
"""Between a problem and its steps, and between two steps."""
Item = dict[str, Any]


def item(body: dict[str, Any], objective: str, tokenizer: Any) -> Item:
    """A row as `input_ids` and `labels`: one number, one for each token, or one for each class."""
    return _ITEMS[objective](body, tokenizer)


def prepare(job: Job, rows: list[Item], places: list[int]) -> Prepared:
    """A trainer over rows, as `item` makes them, in the order of `places`."""
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    model = _model(job, rows)
    pad = job.tokenizer.pad_token_id

    def collate(batch: list[Item]) -> dict[str, Any]:
        return padded(batch, pad)

    class Fitter(Trainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            labels = inputs.pop("labels")
            logits = model(**inputs).logits.float()
            done = self.state.global_step / max(1, self.state.max_steps)
            loss = _loss(job, logits, labels, done)
            return (loss, logits) if return_outputs else loss

    trainer = Fitter(
        model=model,
        args=TrainingArguments(**job.arguments, train_sampling_strategy="sequential", remove_unused_columns=False),
        train_dataset=Dataset.from_list(rows).select(places),
        data_collator=collate,
    )
    return Prepared(
        trainer, [len(rows[place]["input_ids"]) for place in places], lambda folder: trainer.save_model(str(folder))
    )


def padded(batch: list[Item], pad: int) -> dict[str, Any]:
    """Rows as tensors: ids and attention padded on the right, labels of tokens with `IGNORED`."""
    import torch

    longest = max(len(item["input_ids"]) for item in batch)
    ids = [item["input_ids"] + [pad] * (longest - len(item["input_ids"])) for item in batch]
    seen = [[1] * len(item["input_ids"]) + [0] * (longest - len(item["input_ids"])) for item in batch]
    out = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(seen)}
    if "labels" in batch[0]:
        labels = [item["labels"] for item in batch]
        if isinstance(labels[0], list) and len(labels[0]) == len(batch[0]["input_ids"]):
            labels = [one + [float(IGNORED)] * (longest - len(one)) for one in labels]
        out["labels"] = torch.tensor(labels, dtype=torch.float32)
    return out


def _loss(job: Job, logits: Any, labels: Any, done: float) -> Any:
    import torch

    if job.plan.objective == "soft":
        return soft_loss(logits, labels, job.plan.confidence, done)
    logits = logits.squeeze(-1)
    told = labels != IGNORED
    return torch.nn.functional.binary_cross_entropy_with_logits(logits[told], labels[told])


def _model(job: Job, rows: list[Item]) -> Any:
    from peft import TaskType, get_peft_model

    objective = job.plan.objective
    labels = len(rows[0]["labels"]) if objective == "soft" else 1
    model = _headed(job.base, objective, labels, job.tokenizer.pad_token_id, dtype=job.dtype)
    if job.plan.tuning == "full":
        return model
    task = TaskType.TOKEN_CLS if objective == "process" else TaskType.SEQ_CLS  # whose head is trained and saved as well
    return get_peft_model(model, job.lora(task))


def _headed(folder: Path, objective: str, labels: int, pad: int, **options: Any) -> Any:
    """The weights of a folder with a head for so many labels; without dropout in it."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

    kind = AutoModelForTokenClassification if objective == "process" else AutoModelForSequenceClassification
    config = AutoConfig.from_pretrained(folder, num_labels=labels, pad_token_id=pad, local_files_only=True)
    config.classifier_dropout = 0.0
    return kind.from_pretrained(folder, config=config, local_files_only=True, use_safetensors=True, **options)


def answered(prompt: Any, completion: Any, tokenizer: Any) -> list[int]:
    """A prompt and its answer, each a text or turns, as token ids."""
    turns = as_turns(prompt, "user") + as_turns(completion, "assistant")
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def stepped(prompt: str, steps: list[str], tokenizer: Any) -> tuple[list[int], list[int]]:
    """A problem and its steps as token ids, and where each step's last token is."""
    ids: list[int] = tokenizer(prompt + SEPARATOR, add_special_tokens=False)["input_ids"]
    ends = []
    for step in steps:
        ids = ids + tokenizer(step + SEPARATOR, add_special_tokens=False)["input_ids"]
        ends.append(len(ids) - 1)
    return ids, ends


def _outcome(body: Item, tokenizer: Any) -> Item:
    return {"input_ids": answered(body["prompt"], body["completion"], tokenizer), "labels": float(body["label"])}


def _process(body: Item, tokenizer: Any) -> Item:
    ids, ends = stepped(body["prompt"], body["completions"], tokenizer)
    labels = [float(IGNORED)] * len(ids)
    for end, label in zip(ends, body["labels"], strict=True):
        labels[end] = float(label)
    return {"input_ids": ids, "labels": labels}


def _soft(body: Item, tokenizer: Any) -> Item:
    ids = tokenizer(body["text"], add_special_tokens=False)["input_ids"]
    return {"input_ids": ids, "labels": [float(one) for one in body["probabilities"]]}


_ITEMS = {"outcome": _outcome, "process": _process, "soft": _soft}


class Headed:
    """A trained model with a head, ready to be asked."""

    def __init__(self, vm: Path, base: Path, objective: str, labels: int = 1) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(vm, local_files_only=True)
        adapter = (vm / "adapter_config.json").is_file()
        self.model = _headed(base if adapter else vm, objective, labels, self.tokenizer.pad_token_id)
        if adapter:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, vm)
        self.model.eval()

    def outcome(self, prompt: Any, completion: Any) -> float:
        """How likely the answer is right, in 0..1."""
        (logits,) = self._logits([answered(prompt, completion, self.tokenizer)])
        return float(logits.sigmoid()[0])

    def steps(self, prompt: str, steps: list[str]) -> list[float]:
        """How likely each step is right, in 0..1."""
        ids, ends = stepped(prompt, steps, self.tokenizer)
        (logits,) = self._logits([ids])
        return [float(logits[end, 0].sigmoid()) for end in ends]

    def classes(self, texts: list[str]) -> list[list[float]]:
        """The probability of each class, for each text."""
        found = []
        for start in range(0, len(texts), 32):
            batch = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts[start : start + 32]]
            found += [one.softmax(-1).tolist() for one in self._logits(batch)]
        return found

    def _logits(self, batch: list[list[int]]) -> Any:
        import torch

        with torch.inference_mode():
            inputs = padded([{"input_ids": ids} for ids in batch], self.tokenizer.pad_token_id)
            return self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()}).logits.float()
