"""Keep the head: correlation of coarse luminance."""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)  # BT.601 weights of R, G, B


def coarse_luminance(image: Tensor, pool: int = 4) -> Tensor:
    """Area-pooled luminance, each picture standardised.

    Args:
        image: [N, 3, H, W] in [-1, 1].
        pool: Pooling factor.

    Returns:
        [N, (H / pool) * (W / pool)] with mean 0 and mean square 1.
    """
    weights = torch.tensor(LUMINANCE, dtype=image.dtype, device=image.device)
    luminance = (image * weights[:, None, None]).sum(dim=1, keepdim=True)
    flat = F.avg_pool2d(luminance, pool).flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat * torch.rsqrt(flat.square().mean(dim=1, keepdim=True) + 1e-6)


def structure_loss(source: Tensor, target: Tensor, pool: int = 4) -> Tensor:
    """1 - correlation of the two pictures' coarse luminance, averaged over the batch.

    Args:
        source: Pictures before [N, 3, H, W] in [-1, 1].
        target: Pictures after, same shape.
        pool: Pooling factor before the comparison, so that lines and strokes stay free.

    Returns:
        Scalar in [0, 2]; brightness and contrast do not matter.
    """
    a, b = coarse_luminance(source, pool), coarse_luminance(target, pool)
    return 1 - (a * b).mean()
