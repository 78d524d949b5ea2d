"""FIR resampling with the [1, 3, 3, 1] filter, written with standard convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor


def fir_kernel(channels: int, gain: float, like: Tensor) -> Tensor:
    """Return the separable FIR filter as a depthwise kernel [channels, 1, 4, 4] summing to gain."""
    # 4 - |2i - 3| = 1, 3, 3, 1, computed where it is used: a copy from the host would stop a step
    # from being captured.
    taps = 4 - (2 * torch.arange(4, dtype=like.dtype, device=like.device) - 3).abs()
    kernel = torch.outer(taps, taps)
    kernel = kernel * (gain / kernel.sum())
    return kernel.expand(channels, 1, 4, 4)


def blur_after_transposed(x: Tensor, kernel: int = 3) -> Tensor:
    """Filter the (2H + kernel - 2)^2 result of a stride-2 transposed convolution to (2H)^2.

    The gain 4 makes up for the zeros that the transposition inserts.
    Source: StyleGAN2 (Karras et al. 2020), the resampling of its up-sampling convolutions.
    """
    padding = (5 - kernel) // 2
    return F.conv2d(x, fir_kernel(x.shape[1], 4.0, x), padding=padding, groups=x.shape[1])


def upsample(image: Tensor) -> Tensor:
    """Double [N, C, H, W] in both directions; the RGB skip connection of StyleGAN2."""
    kernel = fir_kernel(image.shape[1], 4.0, image)
    return F.conv_transpose2d(image, kernel, stride=2, padding=1, groups=image.shape[1])


def downsample(image: Tensor, factor: int) -> Tensor:
    """Area-average [N, C, H, W] by an integer factor."""
    return image if factor == 1 else F.avg_pool2d(image, factor)
