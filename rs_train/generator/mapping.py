"""Mapping network z -> w."""

import torch
from torch import Tensor, nn

from rs_train.generator.equalized import EqualizedLinear, leaky_relu


def normalize_second_moment(z: Tensor) -> Tensor:
    """Scale each vector of [..., C] to unit mean square."""
    return z * torch.rsqrt(z.square().mean(dim=-1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """Multi-layer perceptron from z [..., z_dim] to w [..., w_dim] (StyleGAN, section 2)."""

    def __init__(self, z_dim: int, w_dim: int, num_layers: int, lr_multiplier: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualizedLinear(z_dim if i == 0 else w_dim, w_dim, lr_multiplier=lr_multiplier)
            for i in range(num_layers)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map z ~ N(0, 1) to w; no truncation here."""
        x = normalize_second_moment(z)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x
