"""CLIP's direction loss: pictures shall change as the texts, or as other pictures, do."""

import torch
import torch.nn.functional as F
from torch import Tensor


def text_direction(source: Tensor, target: Tensor) -> Tensor:
    """Unit direction from one text to another.

    Args:
        source: Unit vectors [T, D] of the source text in T templates.
        target: Unit vectors [T, D] of the target text in the same templates.

    Returns:
        Unit vector [D]: the mean over templates of target - source, normalised.

    Source: StyleGAN-NADA, section 4.1, with its template average.
    """
    return F.normalize((target - source).mean(dim=0), dim=0)


def picture_direction(source: Tensor, target: Tensor) -> Tensor:
    """Unit direction from pictures to one or several pictures in the domain.

    Args:
        source: Unit vectors [M, D] of pictures of the source: one for MindTheGap's clip_across, the
            inversion of the picture in the domain; 16 random heads for DiFa's global direction.
        target: Unit vectors [K, D] of pictures in the domain.

    Returns:
        Unit vector [D]: normalised mean of target - mean of source, normalised.

    Source: MindTheGap (Zhu et al. 2022), the across-domain loss; DiFa (Zhang et al. 2022), the
    global-level adaptation, whose released code does not normalise the sources' mean.
    """
    wanted = F.normalize(target.mean(dim=0), dim=0)
    return F.normalize(wanted - source.mean(dim=0), dim=0)


def direction_loss(source: Tensor, target: Tensor, direction: Tensor) -> Tensor:
    """Mean of 1 - cosine between each picture's change and `direction`.

    Args:
        source: Unit vectors [N, D] of the pictures before.
        target: Unit vectors [N, D] of the pictures after.
        direction: Vector [D], or one for each picture [N, D]; its length does not matter.

    Returns:
        Scalar in [0, 2].

    Source: StyleGAN-NADA, Eq. 2. The change is zero before the first update; 1e-6 is added then, as
    the released code does, for the gradient to be finite.
    """
    change = target - source
    still = change.abs().sum(dim=1, keepdim=True) == 0
    change = torch.where(still, change + 1e-6, change)
    return (1 - F.cosine_similarity(change, direction, dim=-1)).mean()
