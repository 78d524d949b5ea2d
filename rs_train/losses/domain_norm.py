"""Domain norm: a hypernetwork's modulations stay near those of no change."""

import torch
from torch import Tensor

from rs_runtime.contracts.layers import LayerTable


def domain_norm_loss(modulation: Tensor, table: LayerTable) -> Tensor:
    """Mean square of m - 1, summed over the convolutions.

    Args:
        modulation: Factors m [N, sum of Cin over the convolutions], packed in the table's order.
        table: Layers of the generator.

    Returns:
        Scalar; 0 for m = 1. A layer counts alike however many channels it has.

    Source: HyperDomainNet (Alanov et al. 2022), the domain-norm loss |D(t) - 1|^2, as its released
    code averages it ("offsets_l2").
    """
    square = (modulation.float() - 1).square()
    layers = [square[:, table.in_slices[conv.name]].mean() for conv in table.convs]
    return torch.stack(layers).sum()
