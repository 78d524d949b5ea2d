"""The metric network: measures results, and is never used by any loss."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from rs_train.perceptual.preprocessing import to_size
from rs_train.perceptual.trunk import Trunk


@dataclass(frozen=True)
class MetricConfig:
    """Shape of a metric network and the meaning of its outputs.

    Attributes:
        image_size: Side that pictures are resized to.
        channels: Width of each stage of the trunk.
        embed_dim: Length of the identity embedding.
        domains: Classes of the domain head, in order.
        attributes: Renderer parameters of the regression head, in order.
    """

    image_size: int = 128
    channels: tuple[int, ...] = (32, 64, 96, 128)
    embed_dim: int = 96
    domains: tuple[str, ...] = ("photo",)
    attributes: tuple[str, ...] = ()


class MetricNetwork(nn.Module):
    """Multi-task network over every domain and extra of the renderer.

    It regresses the renderer's parameters, names the domain and embeds the identity, so that its
    features keep content and look alike; LPIPS-type and Fréchet distances are taken on them.
    """

    kind: ClassVar[str] = "metric"

    def __init__(self, config: MetricConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels[-1]
        self.trunk = Trunk(config.channels)
        self.domain_head = nn.Linear(width, len(config.domains))
        self.attribute_head = nn.Linear(width, len(config.attributes))
        self.identity_head = nn.Linear(width, config.embed_dim)

    def features(self, image: Tensor) -> list[Tensor]:
        """Feature maps, finest first, of [N, 3, H, W] in [-1, 1]."""
        return self.trunk(to_size(image, self.config.image_size))

    def embed(self, image: Tensor) -> Tensor:
        """Pooled features [N, channels[-1]] for distances between distributions."""
        return self.features(image)[-1].float().mean(dim=(2, 3))

    def identity(self, image: Tensor) -> Tensor:
        """Unit identity vectors [N, embed_dim]."""
        return F.normalize(self.identity_head(self.embed(image)).float(), dim=1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """All heads: domain logits, attributes (standardised) and unit identity vectors."""
        pooled = self.embed(image)
        return {
            "domain": self.domain_head(pooled).float(),
            "attributes": self.attribute_head(pooled).float(),
            "identity": F.normalize(self.identity_head(pooled).float(), dim=1),
        }
