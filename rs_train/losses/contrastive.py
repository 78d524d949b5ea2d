"""The symmetric contrastive loss of CLIP."""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(
    image: Tensor, text: Tensor, logit_scale: Tensor, true: Tensor | None = None
) -> Tensor:
    """Cross-entropy of pictures against texts and of texts against pictures, averaged.

    Args:
        image: Unit vectors [N, D].
        text: Unit vectors [N, D]; row i belongs to picture i.
        logit_scale: Scalar that multiplies the cosines.
        true: Bool [N, N], where text j (column) is true of picture i (row). A picture's true texts
            share its target evenly, and a text's pictures too, so that what fits is not pushed
            apart. None: every text is true of its own picture alone.

    Returns:
        Scalar.

    Source: Radford et al. 2021, figure 3.
    """
    logits = logit_scale * image @ text.T
    fits = torch.eye(len(logits), device=logits.device) if true is None else true.float()
    of_image = fits / fits.sum(dim=1, keepdim=True)
    of_text = fits.T / fits.T.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, of_image) + F.cross_entropy(logits.T, of_text)) / 2
