"""Between 8-bit pixels and the networks' scale; the image rules of `rs_runtime`, for tensors."""

import torch
from torch import Tensor


def to_levels(image: Tensor) -> Tensor:
    """Turn [-1, 1] into uint8 of the same shape; what lies outside is clamped."""
    return ((image.detach().float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)


def from_levels(levels: Tensor) -> Tensor:
    """Turn uint8 into float32 in [-1, 1]."""
    return levels.float() / 127.5 - 1
