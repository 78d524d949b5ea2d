"""Image rules inside graphs: uint8 [N, H, W, 3] outside, float [N, 3, H, W] in [-1, 1] inside."""

import torch
from torch import Tensor


def to_float(image: Tensor) -> Tensor:
    """Turn uint8 [N, H, W, 3] into x / 127.5 - 1, [N, 3, H, W]."""
    # Cast first: to TensorRT, uint8 is nothing but what a Cast reads.
    return image.float().permute(0, 3, 1, 2) / 127.5 - 1.0


def to_uint8(image: Tensor) -> Tensor:
    """Turn float [N, 3, H, W] into round(clamp((x + 1) * 127.5, 0, 255)), uint8 [N, H, W, 3]."""
    levels = torch.round(torch.clamp((image + 1.0) * 127.5, 0.0, 255.0))
    return levels.permute(0, 2, 3, 1).to(torch.uint8)
