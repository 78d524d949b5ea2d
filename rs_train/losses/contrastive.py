"""The symmetric contrastive loss of CLIP."""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(
    image: Tensor, text: Tensor, logit_scale: Tensor, same: Tensor | None = None
) -> Tensor:
    """Cross-entropy of pictures against texts and of texts against pictures, averaged.

    Args:
        image: Unit vectors [N, D].
        text: Unit vectors [N, D]; row i belongs to picture i.
        logit_scale: Scalar that multiplies the cosines.
        same: Bool [N, N], symmetric, true where two rows have the same text; those share the target
            evenly, so that equal captions are not pushed apart. None: every row is its own.

    Returns:
        Scalar.

    Source: Radford et al. 2021, figure 3.
    """
    logits = logit_scale * image @ text.T
    if same is None:
        target = torch.eye(len(logits), device=logits.device)
    else:
        target = same.float() / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
