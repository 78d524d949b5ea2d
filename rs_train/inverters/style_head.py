"""What pSp, e4e and ReStyle have in common: one small convolutional head a row of w_plus."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rs_train.generator.equalized import EqualizedLinear
from rs_train.inverters.trunk import Channels, Pyramid, check_sides

# Rows of w_plus from which on heads read the medium and the fine map (pSp, section 3).
MEDIUM_FROM, FINE_FROM = 3, 7


@dataclass(frozen=True)
class StyleHeadsConfig:
    """Sizes of an encoder with style heads; the defaults are the published ones for 1024² faces.

    Attributes:
        image_size: side S of the image the encoder reads, 16 times a power of two.
        image_height: rows of the square that the encoder reads, those in the middle; a multiple of
            16, None for all.
        num_ws: rows of w_plus.
        w_dim: width of w.
        channels: widths of the trunk's stages.
    """

    image_size: int = 256
    image_height: int | None = None
    num_ws: int = 18
    w_dim: int = 512
    channels: Channels = (64, 128, 256, 512)

    def __post_init__(self) -> None:
        check_sides(self.image_size, self.image_height)
        if self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size {self.image_size} is not a power of two")


class StyleHead(nn.Module):
    """Stride-2 convolutions down to one place, then a linear layer (pSp's map2style).

    Args:
        side: longer side of the map, a power of two.
        in_channels: its channels.
        w_dim: width of w.
    """

    def __init__(self, side: int, in_channels: int, w_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(max(int(math.log2(side)), 1)):
            width = w_dim if index else in_channels
            layers += [nn.Conv2d(width, w_dim, 3, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualizedLinear(w_dim, w_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, in_channels, H, W], both sides up to ``side``, to [N, w_dim]."""
        return self.linear(self.convs(features).flatten(1))


def pyramid_heads(config: StyleHeadsConfig) -> nn.ModuleList:
    """One head a row, for the map that `level_of` names."""
    sides = [config.image_size // stride for stride in (16, 8, 4)]
    return nn.ModuleList(
        StyleHead(sides[level_of(row)], config.channels[-1], config.w_dim)
        for row in range(config.num_ws)
    )


def level_of(row: int) -> int:
    """Index in the pyramid of the map that a row's head reads: 0 coarse, 1 medium, 2 fine."""
    return int(row >= MEDIUM_FROM) + int(row >= FINE_FROM)


def read_rows(heads: nn.ModuleList, features: Pyramid) -> Tensor:
    """Every head's output, [N, num_ws, w_dim]."""
    return torch.stack([head(features[level_of(row)]) for row, head in enumerate(heads)], dim=1)


def add_to_first(rows: Tensor) -> Tensor:
    """Turn a first row and differences from it, [N, num_ws, w_dim], into rows (e4e, Eq. 1)."""
    first = rows[:, :1]
    return torch.cat([first, first + rows[:, 1:]], dim=1)
