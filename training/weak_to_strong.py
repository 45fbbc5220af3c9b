"""Weak-to-strong generalisation: soft labels of a weak model, learned with trust in one's own (arXiv 2312.09390).

The auxiliary confidence loss is (1 - a) CE(f, weak) + a CE(f, hardened f), with no gradient through the hardened
labels (section 4.3). Of App. A.4: `a` rises linearly over the first fifth of the training, and the threshold that
hardens is that of the batch at which half of it is positive, for balanced labels; with more than two classes the
likeliest is taken.
"""

from __future__ import annotations

from typing import Any

_WARM_UP = 0.2
# Below this gap between strong and weak, a share of it says nothing.
_LEAST_GAP = 0.03


def confidence_at(most: float, done: float) -> float:
    """The weight of the auxiliary loss when a share `done` of the training is over."""
    return most * min(1.0, done / _WARM_UP)


def hardened(probabilities: Any) -> Any:
    """A model's own probabilities as labels of 0 and 1, shape (rows, classes), without a gradient.

    Of two classes, half of the rows get the second one: those in which it is likeliest.
    """
    import torch

    own = probabilities.detach()
    if own.shape[1] == 2:
        order = own[:, 1].argsort(descending=True, stable=True)
        chosen = torch.zeros(len(own), dtype=torch.long, device=own.device)
        chosen[order[: len(own) // 2]] = 1
    else:
        chosen = own.argmax(-1)
    return torch.nn.functional.one_hot(chosen, own.shape[1]).to(own.dtype)


def soft_loss(logits: Any, weak: Any, most: float, done: float) -> Any:
    """Cross-entropy with soft labels, and with one's own hardened ones by weight.

    Args:
        logits: shape (rows, classes).
        weak: probabilities, of the same shape.
        most: the weight of the auxiliary loss at its highest.
        done: share of the training that is over.
    """
    weight = confidence_at(most, done)
    logs = logits.log_softmax(-1)
    target = weak if not weight else (1 - weight) * weak + weight * hardened(logs.exp())
    return -(target * logs).sum(-1).mean()


def gap_recovered(weak: float, student: float, ceiling: float) -> float | None:
    """Performance gap recovered, (student - weak) / (ceiling - weak); None where the gap is below three points."""
    if ceiling - weak < _LEAST_GAP:
        return None
    return (student - weak) / (ceiling - weak)
