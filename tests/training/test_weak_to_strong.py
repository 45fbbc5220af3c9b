"""Soft labels and the auxiliary confidence loss, against values worked out by hand."""

import math

import pytest

from understudy.training.weak_to_strong import confidence_at, gap_recovered, hardened, soft_loss


def test_without_confidence_the_target_is_the_weak_label_and_with_all_of_it_ones_own() -> None:
    import torch

    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])  # own: 1/4, 3/4 and 3/4, 1/4
    weak = torch.tensor([[0.6, 0.4], [0.6, 0.4]])
    by_hand = -(0.6 * math.log(0.25) + 0.4 * math.log(0.75) + 0.6 * math.log(0.75) + 0.4 * math.log(0.25)) / 2
    assert float(soft_loss(logits, weak, 0.0, 1.0)) == pytest.approx(by_hand)
    assert float(soft_loss(logits, weak, 1.0, 1.0)) == pytest.approx(-math.log(0.75))


def test_hardened_labels_are_balanced_in_a_batch_and_carry_no_gradient() -> None:
    import torch

    logits = torch.tensor([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.5, 0.0]], requires_grad=True)
    labels = hardened(logits.softmax(-1))
    assert labels.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]  # half are positive, though none seems so
    assert not labels.requires_grad
    many = hardened(torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]))
    assert many.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_the_gradient_is_that_of_cross_entropy_with_a_fixed_target() -> None:
    import torch

    logits = torch.tensor([[0.3, -0.2], [1.0, 0.4]], requires_grad=True)
    weak = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    soft_loss(logits, weak, 0.5, 1.0).backward()
    target = 0.5 * weak + 0.5 * hardened(logits.softmax(-1))
    assert torch.allclose(logits.grad, (logits.softmax(-1) - target).detach() / 2, atol=1e-6)


@pytest.mark.parametrize(("done", "weight"), [(0.0, 0.0), (0.05, 0.1875), (0.1, 0.375), (0.2, 0.75), (1.0, 0.75)])
def test_confidence_warms_up_over_a_fifth_of_the_training(done: float, weight: float) -> None:
    assert confidence_at(0.75, done) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("weak", "student", "ceiling", "share"),
    [(0.6, 0.8, 0.8, 1.0), (0.6, 0.6, 0.8, 0.0), (0.6, 0.7, 0.8, 0.5), (0.6, 0.5, 0.8, -0.5), (0.7, 0.8, 0.72, None)],
)
def test_the_gap_that_is_recovered(weak: float, student: float, ceiling: float, share: float | None) -> None:
    found = gap_recovered(weak, student, ceiling)
    assert found is None if share is None else found == pytest.approx(share)
