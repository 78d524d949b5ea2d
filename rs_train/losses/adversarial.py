"""The non-saturating adversarial loss of a discriminator with several branches, and its R1."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """Sum over branches of the mean of softplus(-logit) for generated pictures.

    Source: Goodfellow et al. 2014, section 3, the non-saturating form.
    """
    return sum(F.softplus(-logits).mean() for logits in fake)


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Sum over branches of the means of softplus(-real logit) and softplus(fake logit)."""
    right = sum(F.softplus(-logits).mean() for logits in real)
    return right + sum(F.softplus(logits).mean() for logits in fake)


def r1_penalty(logits: Sequence[Tensor], real: Tensor) -> Tensor:
    """Half the squared gradient of the discriminator at real pictures, averaged over the batch.

    Args:
        logits: Outputs [N, ...] of every branch for `real`, with the graph that led to them.
        real: Pictures [N, 3, H, W] that require gradients.

    Returns:
        Scalar, to be weighted by gamma.

    Source: Mescheder et al. 2018, Eq. 9. A branch's logits are averaged per picture first, so that
    the penalty does not depend on the number of patches.
    """
    score = sum(branch.reshape(len(branch), -1).mean(dim=1).sum() for branch in logits)
    (gradient,) = torch.autograd.grad(score, real, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean() / 2
