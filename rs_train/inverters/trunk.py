"""The IR-SE50 trunk and its feature pyramid, shared by every inverter.

24 bottleneck units in four stages (3, 4, 14, 3), each stage entered with stride 2, the last three
tapped (ArcFace's IR-SE50 as used by pSp and StyleTransformer). Widths and input channels are
configuration: 64/128/256/512 is the published size.
"""

from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNITS_PER_STAGE = (3, 4, 14, 3)
SQUEEZE = 16

Channels = tuple[int, int, int, int]


def check_sides(size: int, height: int | None) -> None:
    """Refuse pictures that the strides do not divide.

    Raises:
        ValueError: A side is not a multiple of 16, or the height is larger than the width.
    """
    for name, side in (("image_size", size), ("image_height", height)):
        if side is not None and (side % 16 or not 0 < side <= size):
            raise ValueError(f"{name} {side} is not a multiple of 16 up to {size}")


class Taps(NamedTuple):
    """Trunk maps [N, C1, S/4, S/4], [N, C2, S/8, S/8], [N, C3, S/16, S/16]."""

    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor


class Pyramid(NamedTuple):
    """Maps [N, C, S/16, S/16], [N, C, S/8, S/8] and [N, C, S/4, S/4]."""

    coarse: Tensor
    medium: Tensor
    fine: Tensor


class SqueezeExcitation(nn.Module):
    """Channel gate: mean over space, reduction by 16, sigmoid (Hu et al. 2018); no biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // SQUEEZE, 1)
        self.reduce = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.expand = nn.Conv2d(squeezed, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` [N, C, H, W] per sample and channel by a gate in (0, 1)."""
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class PReLU(nn.PReLU):
    """PReLU with one slope a channel.

    While training it is computed as a·x + (1 − a)·relu(x), which is the same function: PyTorch's
    own CPU kernels for it take a third of the whole step in bf16, this form a twentieth.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply to [N, C, H, W]."""
        if not self.training:
            return super().forward(x)
        slope = self.weight.to(x.dtype)[:, None, None]
        return slope * x + (1 - slope) * F.relu(x)


class Bottleneck(nn.Module):
    """One IR-SE unit: BN, conv, PReLU, conv with the stride, BN, gate; plus its shortcut.

    Without the gate, and ``gated`` False, it is a unit of the plain IR networks.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, gated: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        gate = [SqueezeExcitation(out_channels)] if gated else []
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            *gate,
        )
        self.projection: nn.Module | None = None
        if in_channels != out_channels:
            self.projection = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, Cin, H, W] to [N, Cout, H/stride, W/stride]."""
        # Not a strided 1×1 convolution: oneDNN's corrupts memory for few channels in bf16.
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.projection is not None:
            shortcut = self.projection(shortcut)
        return shortcut + self.residual(x)


class Trunk(nn.Module):
    """Input layer and 24 units.

    Args:
        in_channels: 3 for an image, 6 for an image beside its first inversion.
        channels: widths of the four stages.
    """

    def __init__(self, in_channels: int, channels: Channels) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            PReLU(channels[0]),
        )
        units = []
        width = channels[0]
        for out_channels, count in zip(channels, UNITS_PER_STAGE, strict=True):
            for index in range(count):
                units.append(Bottleneck(width, out_channels, 2 if index == 0 else 1))
                width = out_channels
        self.body = nn.ModuleList(units)
        self.ends = tuple(accumulate(UNITS_PER_STAGE))  # units up to the end of each stage

    def stages(self, image: Tensor) -> list[Tensor]:
        """The stages' maps [N, C, S/2, S/2] to [N, C, S/16, S/16] of [N, in_channels, S, S]."""
        x = self.input_layer(image)
        maps = []
        for count, unit in enumerate(self.body, start=1):
            x = unit(x)
            if count in self.ends:
                maps.append(x)
        return maps

    def forward(self, image: Tensor) -> Taps:
        """Extract the three taps from ``image`` [N, in_channels, S, S], S a multiple of 16."""
        return Taps(*self.stages(image)[1:])


class FeaturePyramid(nn.Module):
    """Trunk, 1×1 laterals and top-down sums (Lin et al. 2017, bilinear with aligned corners).

    All three maps have the last stage's width, which is the width of the attention that reads them.
    """

    def __init__(self, in_channels: int, channels: Channels) -> None:
        super().__init__()
        self.trunk = Trunk(in_channels, channels)
        self.lateral_medium = nn.Conv2d(channels[2], channels[3], 1)
        self.lateral_fine = nn.Conv2d(channels[1], channels[3], 1)

    def forward(self, image: Tensor) -> Pyramid:
        """Extract the pyramid from ``image`` [N, in_channels, S, S], S a multiple of 16."""
        taps = self.trunk(image)
        medium = _enlarge(taps.sixteenth) + self.lateral_medium(taps.eighth)
        fine = _enlarge(medium) + self.lateral_fine(taps.quarter)
        return Pyramid(taps.sixteenth, medium, fine)


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
