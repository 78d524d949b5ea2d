"""The ResNet-34 trunk of HyperStyle's hypernetwork."""

import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.inverters.trunk import Channels, PReLU

UNITS_PER_STAGE = (3, 4, 6, 3)


class ResidualUnit(nn.Module):
    """Basic block of a ResNet (He et al. 2016), its parts named as in torchvision's files."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, Cin, H, W] to [N, Cout, H/stride, W/stride]."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        # Strided by hand, see `rs_train.inverters.trunk.Bottleneck`.
        return F.relu(y + self.downsample(x[:, :, :: self.stride, :: self.stride]))


class ResNetTrunk(nn.Module):
    """ResNet-34 without its max-pooling, so that a map of S/16 is left.

    Args:
        in_channels: 6 for an image beside its inversion.
        channels: widths of the four stages.
    """

    def __init__(self, in_channels: int, channels: Channels) -> None:
        super().__init__()
        width = channels[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
        )
        units = []
        for stage, (out_channels, count) in enumerate(zip(channels, UNITS_PER_STAGE, strict=True)):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                units.append(ResidualUnit(width, out_channels, stride))
                width = out_channels
        self.body = nn.Sequential(*units)

    def forward(self, image: Tensor) -> Tensor:
        """Map [N, in_channels, S, S], S a multiple of 16, to [N, C, S/16, S/16]."""
        return self.body(self.input_layer(image))
