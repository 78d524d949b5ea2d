"""Relaxed earth mover's distance between sets of vectors: each goes to its nearest."""

import torch
import torch.nn.functional as F
from torch import Tensor


def relaxed_transport(tokens: Tensor, wanted: Tensor) -> Tensor:
    """Relaxed earth mover's distance of the cosine cost.

    Of the two constraints of optimal transport, that all of a set leaves and that all of the other
    arrives, one is dropped, so that each vector goes to its nearest; the dearer half counts.

    Args:
        tokens: Vectors [N, T, D] of N pictures, any length.
        wanted: Vectors [N or 1, U, D] that they should look like.

    Returns:
        Scalar in [0, 2]: with C_ij = 1 - cos(a_i, b_j) the mean over pictures of
        max(mean_i min_j C_ij, mean_j min_i C_ij).

    Source: DiFa (Zhang et al. 2022), the local-level adaptation; Kolkin et al. 2019 (STROTSS).
    """
    a, b = F.normalize(tokens.float(), dim=2), F.normalize(wanted.float(), dim=2)
    cost = 1 - a @ b.transpose(1, 2)
    there = cost.min(dim=2).values.mean(dim=1)
    back = cost.min(dim=1).values.mean(dim=1)
    return torch.maximum(there, back).mean()
