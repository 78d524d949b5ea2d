"""Diversity of tokens: those of one layer should not all say the same."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rs_runtime.contracts.layers import LayerTable


def diversity_loss(P: Tensor, Q: Tensor, table: LayerTable, refined_layers: int) -> Tensor:
    """Mean squared cosine between different tokens of a layer and side.

    Nothing in an image loss keeps the L pairs of a layer apart. They see the same features, and the
    same gradient moves all of them, so that a few hundred steps leave cosines above 0.99 and a
    residual PᵀQ of rank 1, whatever L is. A small weight on this keeps its rank.

    Args:
        P: Packed tokens [N, L, sum of Cout over convolutions].
        Q: Packed tokens [N, L, sum of Cin over convolutions].
        table: Layers of the generator.
        refined_layers: Nr; the last Nr convolutions are refined.

    Returns:
        Scalar in [0, 1], fp32; 0 for orthogonal tokens and for L = 1.
    """
    names = [conv.name for conv in table.convs[-refined_layers:]]
    sides = (_cosines(P, table.out_slices, names), _cosines(Q, table.in_slices, names))
    return torch.cat(sides).mean()


def _cosines(tokens: Tensor, columns: Mapping[str, slice], names: Sequence[str]) -> Tensor:
    """Mean squared cosine of different tokens, one a layer."""
    length = tokens.shape[1]
    if length == 1:
        return tokens.new_zeros(1)
    means = []
    for name in names:
        unit = F.normalize(tokens[..., columns[name]].float(), dim=-1)
        square = (unit @ unit.transpose(1, 2)).square()
        others = square.sum(dim=(1, 2)) - square.diagonal(dim1=1, dim2=2).sum(dim=1)
        means.append(others.mean() / (length * (length - 1)))
    return torch.stack(means)
