"""Layers with an equalised learning rate: weights are N(0, 1), scaled when they are used."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualizedLinear(nn.Module):
    """Fully connected layer whose weight gain 1/sqrt(fan-in) is applied at run time.

    Source: Karras et al. 2018 (progressive growing), section 4.1; StyleGAN2 uses it throughout.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,  # both parameters learn this much slower (mapping: 0.01)
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class EqualizedConv2d(nn.Module):
    """3x3 or 1x1 convolution, stride 1, 'same' padding, gain 1/sqrt(Cin k^2) at run time."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels * kernel**2)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, Cin, H, W] to [N, Cout, H, W]."""
        return F.conv2d(x, self.weight * self.weight_gain, self.bias, padding=self.padding)


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2 and the variance-keeping gain sqrt(2) of StyleGAN2."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)
