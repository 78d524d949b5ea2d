"""Sliced Wasserstein distances."""

from itertools import permutations

import pytest
import torch

from rs_train.losses.sliced_wasserstein import (
    random_directions,
    sliced_wasserstein,
    texture_distance,
)


def test_one_dimension_equals_the_best_assignment() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 1), torch.randn(5, 1)
    best = min((a - b[list(p)]).square().mean().item() for p in permutations(range(5)))
    assert sliced_wasserstein(a, b, torch.ones(1, 1)).item() == pytest.approx(best, rel=1e-5)


def test_a_shift_costs_its_square_over_the_dimension() -> None:
    torch.manual_seed(0)
    a = torch.randn(64, 3)
    shift = torch.tensor([0.3, -0.4, 1.2])
    directions = random_directions(20_000, 3, a)
    got = sliced_wasserstein(a, a + shift, directions).item()
    assert got == pytest.approx(shift.square().sum().item() / 3, rel=0.03)


def test_sets_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(4, 2), torch.ones(1, 2))


def test_texture_ignores_where_things_are_and_sees_what_they_are() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 4, 6, 6)]
    moved = [maps[0].flip(3)]
    assert texture_distance(maps, moved).item() < 1e-10
    assert texture_distance(maps, [maps[0] + 1]).item() > 0.1
