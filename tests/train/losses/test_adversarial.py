"""Adversarial losses and their gradient penalty."""

import math

import pytest
import torch

from rs_train.losses.adversarial import discriminator_loss, generator_loss, r1_penalty


def test_losses_of_logits_zero_are_log_two_a_term() -> None:
    zero = [torch.zeros(2, 1, 3, 3), torch.zeros(2, 1)]
    assert generator_loss(zero).item() == pytest.approx(2 * math.log(2))
    assert discriminator_loss(zero, zero).item() == pytest.approx(4 * math.log(2))


def test_generator_wants_large_logits_and_discriminator_small_ones_for_fakes() -> None:
    low, high = [torch.full((2, 1), -3.0)], [torch.full((2, 1), 3.0)]
    assert generator_loss(high) < generator_loss(low)
    assert discriminator_loss(high, low) < discriminator_loss(low, high)


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights() -> None:
    weight = torch.randn(3, 4, 4)
    real = torch.randn(5, 3, 4, 4, requires_grad=True)
    score = (real * weight).sum(dim=(1, 2, 3))
    # a second branch of 7 equal patches must count as one discriminator, whatever the patches
    branches = [score, score[:, None].expand(-1, 7)]
    expected = (2 * weight).square().sum().item() / 2
    assert r1_penalty(branches, real).item() == pytest.approx(expected, rel=1e-5)
