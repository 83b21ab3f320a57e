"""Labels as losses read them."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.data import Batch
from secateur.core.data.base import Objects
from secateur.core.finetune.targets import LABEL, TRUTH, listed_rows, tensors_of
from secateur.core.training.losses.multibox import MultiBoxLoss
from support.training import need_torch

TWO = (
    Objects.of([(0, 10, 20, 30, 60), (2, 0, 0, 50, 100)], ignored=[False, True]),
    Objects.of([(1, 5, 5, 15, 15), (1, 0, 0, 40, 40)], ignored=[False, True], crowd=[False, True]),
)


def test_objects_are_listed_as_the_losses_of_prior_boxes_read_them() -> None:
    rows = listed_rows(TWO, 100, 50, background=0)[0, 0]
    expected = [
        [0, 1, 0, 0.2, 0.2, 0.6, 0.6, 0],
        [0, 3, 1, 0, 0, 1, 1, 1],
        [1, 2, 0, 0.1, 0.05, 0.3, 0.15, 0],
    ]
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    assert listed_rows(TWO, 100, 50, background=2)[0, 0, :, 1].tolist() == [0, 3, 1]
    assert listed_rows(TWO, 100, 50, background=-1)[0, 0, :, 1].tolist() == [0, 2, 1]
    none = Objects.of([])
    np.testing.assert_array_equal(listed_rows((none,), 9, 9, background=0), [[[[-1] * 8]]])


@pytest.mark.parametrize("count", [0, 2])
def test_a_batch_of_objects_feeds_a_loss_of_prior_boxes(count: int) -> None:
    torch = need_torch()
    objects = TWO if count else (Objects.of([]), Objects.of([]))
    batch = Batch(inputs={"data": np.zeros((2, 3, 100, 50), np.float32)}, objects=objects)
    found = tensors_of(batch, labels=("gt",), background=0)
    assert TRUTH in found
    assert LABEL not in found
    priors = torch.tensor([[[0.2, 0.2, 0.6, 0.6, 0.1, 0.05, 0.3, 0.15], [0.1, 0.1, 0.2, 0.2] * 2]])
    offsets = torch.zeros(2, 8, requires_grad=True)
    scores = torch.zeros(2, 8, requires_grad=True)
    loss = MultiBoxLoss(classes=4)(offsets, scores, priors, found["gt"])
    loss.backward()
    assert bool(scores.grad.any()) == bool(count)
