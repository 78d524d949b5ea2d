"""Discriminator with RGB inputs at every size (StyleGAN2, Fig. 7b), so that it can grow."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rs_train.generator.equalized import EqualizedConv2d, EqualizedLinear, leaky_relu
from rs_train.generator.resample import downsample


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Shape of a discriminator.

    Attributes:
        channels: Feature channels at 4, 8, 16, ... pixels.
        stddev_group: Samples a group of the minibatch standard deviation.
    """

    channels: tuple[int, ...]
    stddev_group: int = 4


class DiscriminatorBlock(nn.Module):
    """Convolve, halve, convolve."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = EqualizedConv2d(in_channels, in_channels, 3)
        self.conv1 = EqualizedConv2d(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, Cin, H, W] to [N, Cout, H/2, W/2]."""
        return leaky_relu(self.conv1(downsample(leaky_relu(self.conv0(x)), 2)))


class Discriminator(nn.Module):
    """Image [N, 3, R, R] to logits [N]; accepts every size from 8 up to its own."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        sizes = {2 ** (i + 2): c for i, c in enumerate(config.channels)}
        self.from_rgb = nn.ModuleDict({str(s): EqualizedConv2d(3, c, 1) for s, c in sizes.items()})
        self.blocks = nn.ModuleDict(
            {str(s): DiscriminatorBlock(c, sizes[s // 2]) for s, c in sizes.items() if s > 4}
        )
        self.conv = EqualizedConv2d(sizes[4] + 1, sizes[4], 3)
        self.linear = EqualizedLinear(sizes[4] * 16, sizes[4])
        self.out = EqualizedLinear(sizes[4], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Judge images in [-1, 1]; large logits mean real."""
        size = image.shape[-1]
        x = self.from_rgb[str(size)](image)
        while size > 4:
            x = self.blocks[str(size)](x)
            size //= 2
            rgb = downsample(image, image.shape[-1] // size)
            x = (x + self.from_rgb[str(size)](rgb)) * math.sqrt(0.5)
        x = torch.cat([x, _minibatch_stddev(x, self.config.stddev_group)], dim=1)
        x = leaky_relu(self.conv(x)).flatten(1)
        return self.out(leaky_relu(self.linear(x))).squeeze(1).float()

    @torch.no_grad()
    def silence_blocks_above(self, size: int) -> None:
        """Let larger blocks start from zero, so that growing keeps what was learnt."""
        for name, block in self.blocks.items():
            if int(name) > size:
                block.conv1.weight.zero_()


def _minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """One channel [N, 1, H, W] with the mean deviation over groups of samples."""
    batch = x.shape[0]
    group = math.gcd(batch, group)
    y = x.float().reshape(group, batch // group, *x.shape[1:])
    y = (y.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [N / group]
    y = y.repeat(group)[:, None, None, None]
    return y.expand(batch, 1, *x.shape[2:]).to(x.dtype)
