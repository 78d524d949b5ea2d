"""Within-domain direction: heads differ from the reference in the domain as they did before."""

import torch.nn.functional as F
from torch import Tensor


def within_loss(
    source: Tensor, target: Tensor, source_reference: Tensor, reference: Tensor
) -> Tensor:
    """Mean of 1 - cosine between differences to the reference, after and before.

    Args:
        source: Unit vectors [N, D] of the heads before.
        target: Unit vectors [N, D] of the heads after.
        source_reference: Unit vector [1, D] of the reference's inversion, a picture of the source.
        reference: Unit vector [1, D] of the reference itself.

    Returns:
        Scalar in [0, 2]: the mean of 1 - cos(t_i - r, s_i - r_source).

    Source: MindTheGap (Zhu et al. 2022), the within-domain CLIP loss (weight 0.5).
    """
    after, before = target - reference, source - source_reference
    return (1 - F.cosine_similarity(after, before, dim=1)).mean()
