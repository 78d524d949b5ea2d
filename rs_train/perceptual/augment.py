"""Random views of pictures, differentiable: for training the judges and in front of a guide."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strengths of `augment`; 0 switches a part off.

    Attributes:
        flip: Probability of a mirror image.
        crop: Largest part of the side that is cropped away; the place is random too.
        colour: Deviation of the gain and of the offset of each channel.
        noise: Deviation of Gaussian noise on every pixel.
    """

    flip: float = 0.0
    crop: float = 0.0
    colour: float = 0.0
    noise: float = 0.0


def augment(image: Tensor, strength: Augmentation) -> Tensor:
    """One random view of each picture.

    Args:
        image: [N, 3, H, W] in [-1, 1].
        strength: What is varied, and how far.

    Returns:
        [N, 3, H, W], clamped to [-1, 1].
    """
    n, device = len(image), image.device
    if strength.flip or strength.crop:
        scale = 1 - strength.crop * torch.rand(n, device=device)
        shift = (torch.rand(n, 2, device=device) * 2 - 1) * (1 - scale)[:, None]
        mirror = 1 - 2 * (torch.rand(n, device=device) < strength.flip).to(scale.dtype)
        theta = torch.zeros(n, 2, 3, device=device)
        theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale * mirror, scale, shift
        grid = F.affine_grid(theta, list(image.shape), align_corners=False)
        image = F.grid_sample(
            image.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
    if strength.colour:
        gain = 1 + strength.colour * torch.randn(n, 3, 1, 1, device=device)
        offset = strength.colour * torch.randn(n, 3, 1, 1, device=device)
        image = image * gain + offset
    if strength.noise:
        image = image + strength.noise * torch.randn_like(image)
    return image.clamp(-1, 1)
