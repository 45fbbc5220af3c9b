"""A VM against its base on held-out conversations: loss of the answers, and a task score of what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from understudy.evals.answering import Answering, Models, Prompt
from understudy.evals.interval import Interval, paired_bootstrap
from understudy.evals.task_measures import f1

Conversation = list[dict[str, Any]]


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
            answers[name] = _answers(models.answering(model), asked, max_new_tokens, partial(say, f"answers of {name}"))
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


def _answers(
    speaker: Answering, asked: list[Conversation], max_new_tokens: int, watch: Callable[[int, int], None]
) -> list[str]:
    prompts = [Prompt(tuple(messages[:-1])) for messages in asked]
    return [said for (said,) in speaker.answers(prompts, max_new_tokens, watch=watch)]


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
