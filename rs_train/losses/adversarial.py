"""The non-saturating adversarial loss and its gradient penalty."""

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake: Tensor) -> Tensor:
    """Mean of softplus(-logit) over the discriminator's outputs for generated pictures."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of softplus(-real logit) plus mean of softplus(fake logit)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """Half the squared gradient of the discriminator at real pictures, averaged over the batch.

    Args:
        logits: Outputs [N, ...] for `real`, with the graph that led to them.
        real: Pictures [N, 3, H, W] that require gradients.

    Returns:
        Scalar, to be weighted by gamma.

    Source: Mescheder et al. 2018, Eq. 9. Outputs of a patch discriminator are averaged per picture
    first, so that the penalty does not depend on the number of patches.
    """
    score = logits.flatten(1).mean(dim=1).sum()
    (gradient,) = torch.autograd.grad(score, real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2
