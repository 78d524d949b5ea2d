"""Random views of pictures, differentiable: for training the judges and in front of a guide."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strengths of a random view; 0 switches a part off.

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


class View(NamedTuple):
    """One drawn view of each of N pictures."""

    theta: Tensor | None  # affine map of sampling positions [N, 2, 3]
    gain: Tensor | None  # [N, 3, 1, 1]
    offset: Tensor | None  # [N, 3, 1, 1]
    noise: float


def draw_view(count: int, strength: Augmentation, device: torch.device) -> View:
    """Draw a view for each of `count` pictures."""
    theta = gain = offset = None
    if strength.flip or strength.crop:
        scale = 1 - strength.crop * torch.rand(count, device=device)
        shift = (torch.rand(count, 2, device=device) * 2 - 1) * (1 - scale)[:, None]
        mirror = 1 - 2 * (torch.rand(count, device=device) < strength.flip).to(scale.dtype)
        theta = torch.zeros(count, 2, 3, device=device)
        theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale * mirror, scale, shift
    if strength.colour:
        gain = 1 + strength.colour * torch.randn(count, 3, 1, 1, device=device)
        offset = strength.colour * torch.randn(count, 3, 1, 1, device=device)
    return View(theta, gain, offset, strength.noise)


def apply_view(image: Tensor, view: View) -> Tensor:
    """Look at pictures [N, 3, H, W] in [-1, 1] through a view; clamped to [-1, 1].

    The same view may be applied to several batches, so that they differ in content alone.
    """
    if view.theta is not None:
        grid = F.affine_grid(view.theta, list(image.shape), align_corners=False)
        image = F.grid_sample(
            image.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
    if view.gain is not None:
        image = image * view.gain + view.offset
    if view.noise:
        image = image + view.noise * torch.randn_like(image)
    return image.clamp(-1, 1)


def augment(image: Tensor, strength: Augmentation) -> Tensor:
    """One random view of each picture [N, 3, H, W] in [-1, 1]."""
    return apply_view(image, draw_view(len(image), strength, image.device))
