"""Bring pictures to a judge network's input, differentiably."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """What open_clip does to a picture before its image tower.

    Attributes:
        size: Side of the square input.
        mean: Mean of each channel on [0, 1].
        std: Deviation of each channel on [0, 1].
        interpolation: Filter of the antialiased resize.
        resize_mode: `shortest` resizes the shorter side and crops the centre, `squash` ignores the
            aspect ratio.
    """

    size: int
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "squash"] = "shortest"


def to_clip_input(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resize, crop and normalise as open_clip's evaluation transform does, with gradients.

    Args:
        image: [N, 3, H, W] in [-1, 1]; values outside are used as they are (clamp before).
        preprocessing: The target of the transform.

    Returns:
        [N, 3, size, size], equal to open_clip's own transform up to Pillow's rounding
        to 8 bits and its clipping of bicubic overshoot.
    """
    size = preprocessing.size
    height, width = image.shape[-2:]
    target = (size, size)
    if preprocessing.resize_mode == "shortest":
        short = min(height, width)
        target = (int(size * height / short), int(size * width / short))
    if target != (height, width):
        image = F.interpolate(
            image,
            target,
            mode=preprocessing.interpolation,
            align_corners=False,
            antialias=True,
        )
    top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
    image = image[..., top : top + size, left : left + size]
    mean = torch.tensor(preprocessing.mean, dtype=image.dtype, device=image.device)
    std = torch.tensor(preprocessing.std, dtype=image.dtype, device=image.device)
    return ((image + 1) / 2 - mean[:, None, None]) / std[:, None, None]


def to_size(image: Tensor, size: int) -> Tensor:
    """Resize [N, 3, H, W] to [N, 3, size, size]: exact area pooling where the factor is whole."""
    height, width = image.shape[-2:]
    if (height, width) == (size, size):
        return image
    if height == width and height % size == 0:
        return F.avg_pool2d(image, height // size)
    return F.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
