"""Laplacian regularisation: heads that are neighbours change alike."""

import torch
from torch import Tensor

TEMPERATURE = 128.0  # distance of w at which the affinity of two heads has fallen to 1 / e


def laplacian_loss(w: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Quadratic form of the graph Laplacian on the changes of a batch's embeddings.

    With f_i = t_i - s_i, affinities a_ij = exp(-|w_i - w_j| / 128) and their Laplacian
    L = diag(sum_j a_ij) - A, the loss is trace(f^T L f) / ((N^2 - N) D), where
    trace(f^T L f) = 1/2 sum_ij a_ij |f_i - f_j|^2.

    Args:
        w: What the heads were drawn from [N, ...], N >= 2; flattened.
        source: Unit vectors [N, D] of the pictures before.
        target: Unit vectors [N, D] of the pictures after.

    Returns:
        Scalar, at least 0.

    Raises:
        ValueError: A batch of one has no neighbours.

    Source: GOGA (Zhang et al. 2022), variational Laplacian regularisation.
    """
    count, dimension = source.shape
    if count < 2:
        raise ValueError("a batch of one head has no neighbours")
    with torch.no_grad():
        affinity = torch.exp(-torch.cdist(w.flatten(1), w.flatten(1)) / TEMPERATURE)
    change = target - source
    laplacian = torch.diag(affinity.sum(dim=1)) - affinity
    return (change * (laplacian @ change)).sum() / ((count**2 - count) * dimension)
