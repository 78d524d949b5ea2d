"""Target-target direction: domains shall differ from each other as their texts do."""

import torch.nn.functional as F
from torch import Tensor

from rs_train.losses.pairs import pairs_of


def target_direction_loss(target: Tensor, text: Tensor) -> Tensor:
    """Mean of 1 - cosine between the differences of pictures and those of their domains' texts.

    Keeps the domains that one network makes from becoming one.

    Args:
        target: Unit vectors [N, D] of pictures after, each in a domain of its own or not.
        text: Unit vectors [N, D] of the pictures' domains, in the same order; means over templates
            need not be of unit length.

    Returns:
        Scalar in [0, 2]: the mean over those pairs i > j whose domains differ of
        1 - cos(t_i - t_j, T_i - T_j); 0 if all are of one domain.

    Source: HyperDomainNet (Alanov et al. 2022), the TT-direction loss; its released code
    takes each pair of the batch, here pairs of one domain, which have no direction, are left out.
    """
    first, second = pairs_of(target)
    wanted = text[first] - text[second]
    differ = wanted.abs().sum(dim=1) > 0
    change = (target[first] - target[second])[differ]
    if not len(change):
        return target.sum() * 0
    return (1 - F.cosine_similarity(change, wanted[differ], dim=1)).mean()
