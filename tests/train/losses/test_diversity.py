"""Diversity of tokens against numbers made one pair at a time."""

import numpy as np
import pytest
import torch

from rs_train.generator import GeneratorConfig
from rs_train.losses.diversity import diversity_loss

TABLE = GeneratorConfig(channels=(8, 6, 4, 4), z_dim=8, w_dim=8, mapping_layers=1).table


def tokens(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, length, n, generator=rng) for n in (TABLE.sum_out, TABLE.sum_in))


def test_it_is_the_mean_over_pairs_layers_and_sides():
    P, Q = tokens(3)
    per_layer = []
    for side, slices in ((P, TABLE.out_slices), (Q, TABLE.in_slices)):
        for conv in TABLE.convs[-2:]:
            part = side[..., slices[conv.name]].numpy()
            cosines = [
                (a @ b / np.linalg.norm(a) / np.linalg.norm(b)) ** 2
                for sample in part
                for i, a in enumerate(sample)
                for k, b in enumerate(sample)
                if i != k
            ]
            per_layer.append(np.mean(cosines))
    assert diversity_loss(P, Q, TABLE, 2).item() == pytest.approx(np.mean(per_layer), rel=1e-5)


def test_equal_tokens_cost_most_and_a_single_one_nothing():
    P, Q = tokens(1)
    assert diversity_loss(P, Q, TABLE, 2).item() == 0
    same = (P.expand(-1, 4, -1), Q.expand(-1, 4, -1))
    assert diversity_loss(*same, TABLE, 2).item() == pytest.approx(1, abs=1e-5)


def test_layers_that_are_not_refined_do_not_count():
    P, Q = tokens(3)
    first = TABLE.convs[0].name
    P[..., TABLE.out_slices[first]] = 0
    expected = diversity_loss(P, Q, TABLE, 3)
    P[..., TABLE.out_slices[first]] = 1
    assert diversity_loss(P, Q, TABLE, 3) == expected
