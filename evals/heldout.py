"""A VM against its base on held-out conversations: loss of the answers, and a task score of what it says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.evals.interval import Interval, paired_bootstrap
from understudy.models.local import hush, leave_a_core

Conversation = list[dict[str, str]]

_WORD = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Scores:
    """One measure for base and VM, and their difference."""

    base: float
    vm: float
    gap: Interval
    """VM minus base, with its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the VM learned, on examples whose seeds it has not seen."""

    loss: Scores
    """Mean negative log-likelihood of an answer token, in nats; lower is better."""
    f1: Scores | None
    """Token F1 of the greedy answer against the reference, in 0..1; None when nothing was generated."""
    per_example: tuple[dict[str, Any], ...]
    """`example` (its id in the corpus), `base_loss`, `vm_loss`, and for those that were answered `question`,
    `reference`, `base`, `vm`, `base_f1`, `vm_f1`."""

    @property
    def improved(self) -> bool:
        """Whether the VM's held-out loss is below its base's, the interval excluding zero."""
        return self.loss.gap.high < 0


class Models:
    """Base and VM, sharing weights where the VM is an adapter."""

    def __init__(self, base: Path, vm: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        leave_a_core()
        hush()
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
        self.tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, padding_side="left")
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        model = AutoModelForCausalLM.from_pretrained(base, **options)
        if (vm / "adapter_config.json").is_file():
            from peft import PeftModel

            self._vm = PeftModel.from_pretrained(model, vm).to(device).eval()
            self._base = self._vm
        else:
            self._vm = AutoModelForCausalLM.from_pretrained(vm, **options).to(device).eval()
            self._base = model.to(device).eval()

    @contextmanager
    def as_base(self) -> Iterator[Any]:
        """The base: the adapter switched off, or the other weights."""
        off: AbstractContextManager[Any] = self._vm.disable_adapter() if self._base is self._vm else nullcontext()
        with off:
            yield self._base

    @contextmanager
    def as_vm(self) -> Iterator[Any]:
        """The VM."""
        yield self._vm


def compare(
    models: Models,
    held_out: dict[str, Conversation],
    *,
    generate: int = 16,
    max_new_tokens: int = 96,
    watch: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Measure base and VM on the same conversations.

    Args:
        models: the pair.
        held_out: chats that end with the reference answer, by the id of their example.
        generate: how many of them to answer greedily for the task score.
        max_new_tokens: longest generated answer.
        watch: called with (what, done, all).
    """
    say = watch or (lambda what, done, total: None)
    losses: dict[str, list[float]] = {}
    answers: dict[str, list[str]] = {}
    conversations = list(held_out.values())
    chosen = list(range(0, len(conversations), max(1, len(conversations) // generate)))[:generate] if generate else []
    asked = [conversations[place] for place in chosen]
    for name, role in (("base", models.as_base), ("vm", models.as_vm)):
        with role() as model:
            losses[name] = []
            for place, messages in enumerate(conversations):
                losses[name].append(answer_loss(model, models.tokenizer, messages))
                say(f"loss of {name}", place + 1, len(conversations))
            answers[name] = []
            for start in range(0, len(asked), 8):
                batch = asked[start : start + 8]
                answers[name] += _greedy(model, models.tokenizer, batch, max_new_tokens)
                say(f"answers of {name}", start + len(batch), len(asked))
    rows: list[dict[str, Any]] = [
        {"example": id, "base_loss": losses["base"][place], "vm_loss": losses["vm"][place]}
        for place, id in enumerate(held_out)
    ]
    marks: dict[str, list[float]] = {"base": [], "vm": []}
    for number, place in enumerate(chosen):
        messages = conversations[place]
        rows[place] |= {"question": messages[-2]["content"], "reference": messages[-1]["content"]}
        for name in marks:
            said = answers[name][number]
            marks[name].append(f1(said, messages[-1]["content"]))
            rows[place] |= {name: said, f"{name}_f1": marks[name][-1]}
    return Comparison(_scores(losses), _scores(marks) if chosen else None, tuple(rows))


def _scores(values: dict[str, list[float]]) -> Scores:
    base, vm = values["base"], values["vm"]
    return Scores(sum(base) / len(base), sum(vm) / len(vm), paired_bootstrap(vm, base))


def answer_loss(model: Any, tokenizer: Any, messages: Conversation) -> float:
    """Mean negative log-likelihood of the last turn's tokens, in nats, given the turns before."""
    import torch

    head = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    prefix = len(tokenizer.encode(head, add_special_tokens=False))
    ids = torch.tensor([tokenizer.encode(whole, add_special_tokens=False)], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0, prefix - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(logits, ids[0, prefix:]))


def _greedy(model: Any, tokenizer: Any, batch: list[Conversation], max_new_tokens: int) -> list[str]:
    import torch

    prompts = [tokenizer.apply_chat_template(m[:-1], tokenize=False, add_generation_prompt=True) for m in batch]
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
    with torch.inference_mode():
        out = model.generate(
            **encoded, max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
    texts: list[str] = tokenizer.batch_decode(out[:, encoded.input_ids.shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


def f1(said: str, reference: str) -> float:
    """Token F1 as SQuAD defines it (Rajpurkar et al., arXiv 1606.05250), in 0..1."""
    one, other = Counter(_tokens(said)), Counter(_tokens(reference))
    shared = (one & other).total()
    if not one or not other:
        return float(one == other)
    return 2 * shared / (one.total() + other.total())


def _tokens(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in _ARTICLES]
