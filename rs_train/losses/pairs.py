"""Pairs of a batch."""

import torch
from torch import Tensor


def pairs_of(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Indices i and j [N (N - 1) / 2] of the pairs i > j of a batch [N, ...]."""
    first, second = torch.tril_indices(len(batch), len(batch), offset=-1, device=batch.device)
    return first, second
