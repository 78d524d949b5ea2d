"""The norm of modulations."""

import numpy as np
import pytest
import torch

from rs_train.generator import GeneratorConfig
from rs_train.losses.domain_norm import domain_norm_loss

TABLE = GeneratorConfig(channels=(8, 6, 4, 4), z_dim=8, w_dim=8, mapping_layers=1).table


def test_it_is_the_sum_over_layers_of_the_mean_square_offset() -> None:
    torch.manual_seed(0)
    modulation = 1 + 0.1 * torch.randn(3, TABLE.sum_in)
    expected, start = 0.0, 0
    for conv in TABLE.convs:
        offsets = modulation.numpy()[:, start : start + conv.in_channels] - 1
        expected += np.mean([np.mean([x * x for x in row]) for row in offsets])
        start += conv.in_channels
    assert start == TABLE.sum_in
    assert domain_norm_loss(modulation, TABLE).item() == pytest.approx(expected, rel=1e-5)


def test_a_narrow_layer_counts_like_a_wide_one_and_no_change_costs_nothing() -> None:
    still = torch.ones(1, TABLE.sum_in)
    assert domain_norm_loss(still, TABLE).item() == 0
    for conv in (TABLE.convs[0], TABLE.convs[-1]):
        moved = still.clone()
        moved[:, TABLE.in_slices[conv.name]] = 3
        assert domain_norm_loss(moved, TABLE).item() == pytest.approx(4)
