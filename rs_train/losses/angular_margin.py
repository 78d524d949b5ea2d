"""The additive angular margin of ArcFace."""

import torch
import torch.nn.functional as F
from torch import Tensor


def angular_margin_loss(
    embedding: Tensor, prototypes: Tensor, labels: Tensor, *, margin: float = 0.5, scale: float = 30
) -> Tensor:
    """Cross-entropy over classes after adding `margin` to the angle of the right class.

    Args:
        embedding: Unit vectors [N, D].
        prototypes: One direction a class [K, D], any length.
        labels: int64 [N] in [0, K).
        margin: Added angle in radians.
        scale: Multiplies the cosines.

    Returns:
        Scalar.

    Source: Deng et al. 2019, Eq. 3. Beyond the angle pi - margin, where cos(angle + margin) would
    rise again, the right class's cosine is lowered by margin * sin(margin) instead.
    """
    cosine = embedding @ F.normalize(prototypes, dim=1).T
    right = cosine.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = torch.acos(right)
    widened = torch.where(
        angle + margin <= torch.pi,
        torch.cos(angle + margin),
        right - margin * torch.sin(torch.tensor(margin)),
    )
    logits = cosine.scatter(1, labels[:, None], widened.to(cosine.dtype))
    return F.cross_entropy(scale * logits, labels)
