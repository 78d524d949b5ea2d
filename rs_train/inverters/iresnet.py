"""The iResNet trunk of ArcFace's newer networks, and its unit, which feature encoders also use.

Duta et al., "Improved Residual Networks", 2020, in the arrangement of the public ArcFace networks;
parts are named as in their files.
"""

from itertools import pairwise

from torch import Tensor, nn

from rs_train.inverters.trunk import UNITS_PER_STAGE, Channels, PReLU


class IResBranch(nn.Module):
    """Batch norm, convolution, batch norm, PReLU, convolution with the stride, batch norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, Cin, H, W] to [N, Cout, H/stride, W/stride]."""
        return self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))


class IResUnit(IResBranch):
    """The branch beside a shortcut, which is projected where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.stride = stride
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, Cin, H, W] to [N, Cout, H/stride, W/stride]."""
        # Strided by hand, see `rs_train.inverters.trunk.Bottleneck`.
        shortcut = self.downsample(x[:, :, :: self.stride, :: self.stride])
        return shortcut + super().forward(x)


class IResNet(nn.Module):
    """Input layer and 24 units of iResNet-50, without the head of the face network.

    Args:
        channels: widths of the four stages.
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.prelu = PReLU(channels[0])
        widths = pairwise((channels[0], *channels))
        for stage, ((before, width), count) in enumerate(
            zip(widths, UNITS_PER_STAGE, strict=True), start=1
        ):
            others = [IResUnit(width, width) for _ in range(count - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(IResUnit(before, width, 2), *others))

    def stages(self, image: Tensor) -> list[Tensor]:
        """The stages' maps [N, C, S/2, S/2] to [N, C, S/16, S/16] of images [N, 3, S, S]."""
        maps = [self.prelu(self.bn1(self.conv1(image)))]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps[1:]
