"""What a VM unlearned: how likely base and VM find the answers to general instructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from understudy.evals.answering import Models, Prompt
from understudy.evals.heldout import Scores
from understudy.evals.interval import paired_bootstrap


def forgotten(
    models: Models, rows: Sequence[dict[str, Any]], watch: Callable[[str, int, int], None] | None = None
) -> tuple[Scores, tuple[dict[str, float], ...]]:
    """Mean negative log-likelihood of an answer's tokens, in nats, its end token with them: base, VM, and the gap.

    A gap above zero is what was forgotten.

    Args:
        models: the pair.
        rows: `messages` that end with an answer, and perhaps `tools`.
        watch: called with (what, done, all).

    Returns:
        the means, and `base_loss` and `vm_loss` of each row.
    """
    say = watch or (lambda what, done, total: None)
    pairs = [
        (Prompt(tuple(row["messages"][:-1]), tuple(row.get("tools", ()))), row["messages"][-1]["content"])
        for row in rows
    ]
    losses: dict[str, list[float]] = {}
    for name, role in (("base", models.as_base), ("vm", models.as_vm)):
        with role() as model:
            found = models.answering(model).logprobs(pairs, watch=partial(say, f"loss of {name}"))
        losses[name] = [-sum(one) / len(one) for one in found]
    base, vm = losses["base"], losses["vm"]
    scores = Scores(sum(base) / len(base), sum(vm) / len(vm), paired_bootstrap(vm, base))
    return scores, tuple({"base_loss": one, "vm_loss": two} for one, two in zip(base, vm, strict=True))
