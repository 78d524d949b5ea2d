"""One look at a whole photo: in every cell of a grid, is a face's centre here, and its points."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.perceptual.trunk import Trunk

STRIDE = 8  # side of a cell in pixels
_UNIT = 32.0  # pixels that an output of 1 moves a point by
_RARE = -4.0  # first bias of the logits: nearly all cells are empty


@dataclass(frozen=True)
class LandmarkConfig:
    """Shape of a landmark network.

    Attributes:
        image_size: Side that photos are fitted into, a multiple of 32.
        channels: Width at each of the strides 2, 4, 8, 16, 32.
        width: Width of the grid's features.
    """

    image_size: int = 128
    channels: tuple[int, int, int, int, int] = (12, 20, 40, 56, 72)
    width: int = 48


class LandmarkNetwork(nn.Module):
    """Anchor-free detector with one grid at stride 8, to which the coarser maps are added."""

    kind: ClassVar[str] = "landmarks"

    def __init__(self, config: LandmarkConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.channels)
        self.laterals = nn.ModuleList(nn.Conv2d(c, config.width, 1) for c in config.channels[2:])
        self.head = nn.Sequential(
            nn.Conv2d(config.width, config.width, 3, padding=1, bias=False),
            nn.BatchNorm2d(config.width),
            nn.ReLU(),
            nn.Conv2d(config.width, 11, 1),
        )
        nn.init.constant_(self.head[-1].bias[0], _RARE)
        side = config.image_size // STRIDE
        axis = torch.arange(side) * STRIDE + (STRIDE - 1) / 2
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer(
            "centres", torch.stack([columns, rows], 2).reshape(-1, 2), persistent=False
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Look at photos.

        Args:
            image: [N, 3, S, S] in [-1, 1], S = image_size.

        Returns:
            Logits [N, G] that a cell holds a face's centre, G = (S / 8)², and the five points
            (x, y) of that face in pixels, [N, G, 5, 2].
        """
        maps = self.trunk(image)[2:]
        grid = self.laterals[-1](maps[-1])
        for lateral, finer in zip(self.laterals[-2::-1], maps[-2::-1], strict=True):
            grid = F.interpolate(grid, scale_factor=2.0, mode="nearest") + lateral(finer)
        found = self.head(grid).flatten(2).transpose(1, 2).float()
        offsets = found[..., 1:].unflatten(2, (5, 2)) * _UNIT
        return found[..., 0], self.centres[:, None, :] + offsets
