"""ArcFace: whose face is it, as a unit vector."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.perceptual.preprocessing import to_size
from rs_train.perceptual.trunk import Trunk


@dataclass(frozen=True)
class ArcFaceConfig:
    """Shape of an ArcFace network.

    Attributes:
        image_size: Side that pictures are resized to.
        channels: Width of each stage of the trunk.
        embed_dim: Length of the identity embedding.
    """

    image_size: int = 128
    channels: tuple[int, ...] = (24, 48, 96, 160)
    embed_dim: int = 128


class ArcFace(nn.Module):
    """Identity embedding, trained with an additive angular margin (Deng et al., 2019)."""

    kind: ClassVar[str] = "arcface"

    def __init__(self, config: ArcFaceConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.channels)
        self.head = nn.Linear(config.channels[-1], config.embed_dim)

    def features(self, image: Tensor) -> list[Tensor]:
        """Feature maps, finest first, of [N, 3, H, W] in [-1, 1]."""
        return self.trunk(to_size(image, self.config.image_size))

    def embed(self, image: Tensor) -> Tensor:
        """Unit identity vectors [N, embed_dim] of [N, 3, H, W] in [-1, 1]."""
        pooled = self.features(image)[-1].float().mean(dim=(2, 3))
        return F.normalize(self.head(pooled).float(), dim=1)

    forward = embed
