"""The small convolutional trunk under the ArcFace and metric networks."""

from itertools import pairwise

from torch import Tensor, nn


def _conv_norm(cin: int, cout: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(cout)
    )


class ResidualStage(nn.Module):
    """Halve the side, then one residual block: [N, cin, H, W] -> [N, cout, H/2, W/2]."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.down = nn.Sequential(_conv_norm(cin, cout, 2), nn.ReLU(inplace=True))
        self.block = nn.Sequential(
            _conv_norm(cout, cout, 1), nn.ReLU(inplace=True), _conv_norm(cout, cout, 1)
        )
        self.activate = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stage."""
        x = self.down(x)
        return self.activate(x + self.block(x))


class Trunk(nn.Module):
    """Stride-2 stages over a picture, each of whose outputs is a feature map.

    Args:
        channels: Width of each stage; the first is a single convolution, so that the costly
            half-size map stays cheap.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv_norm(3, channels[0], 2), nn.ReLU())
        self.stages = nn.ModuleList(ResidualStage(cin, cout) for cin, cout in pairwise(channels))

    def forward(self, image: Tensor) -> list[Tensor]:
        """[N, 3, S, S] in [-1, 1] -> maps [N, channels[i], S / 2^(i+1), S / 2^(i+1)]."""
        maps = [self.stem(image)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps
