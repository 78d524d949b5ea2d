"""CLIP's direction loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rs_train.losses.direction import direction_loss, picture_direction, text_direction


def test_moving_along_against_and_across_the_direction() -> None:
    direction = torch.tensor([1.0, 0.0, 0.0])
    source = torch.zeros(1, 3)
    for change, expected in (((2, 0, 0), 0.0), ((-1, 0, 0), 2.0), ((0, 5, 0), 1.0)):
        target = torch.tensor([change], dtype=torch.float32)
        assert direction_loss(source, target, direction).item() == pytest.approx(expected, abs=1e-6)


def test_text_direction_is_the_normalised_mean_difference() -> None:
    source = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    target = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    expected = F.normalize(torch.tensor([-0.5, 0.5]), dim=0)
    torch.testing.assert_close(text_direction(source, target), expected)


def test_picture_direction_starts_at_the_mean_of_the_sources() -> None:
    torch.manual_seed(0)
    source, target = (F.normalize(torch.randn(n, 5), dim=1) for n in (4, 2))
    start, end = np.zeros(5), np.zeros(5)
    for row in source.numpy():
        start += row / 4  # not of unit length
    for row in target.numpy():
        end += row
    wanted = end / np.sqrt(np.square(end).sum()) - start
    wanted /= np.sqrt(np.square(wanted).sum())
    assert picture_direction(source, target).tolist() == pytest.approx(wanted.tolist(), abs=1e-6)


def test_no_change_has_a_finite_gradient() -> None:
    source = torch.randn(2, 4)
    target = source.clone().requires_grad_()
    direction_loss(source, target, F.normalize(torch.randn(4), dim=0)).backward()
    assert torch.isfinite(target.grad).all()
