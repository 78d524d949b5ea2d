"""Distance between deep features (LPIPS without learned channel weights)."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

EPS = 1e-10


class FeatureNetwork(Protocol):
    """A frozen network that shows its feature maps."""

    def features(self, image: Tensor) -> list[Tensor]:
        """Maps [N, C_l, H_l, W_l] of ``image`` [N, 3, H, W] in [-1, 1]."""
        ...


def feature_distance(prediction: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the squared difference of channel-normalised features.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
    2018, Eq. 1 with every channel weight 1: features are scaled to unit length over the channels at
    each position, their squared differences summed over channels, averaged over positions.

    Args:
        prediction: Maps [N, C_l, H_l, W_l], any float dtype.
        target: Maps of the same shapes.

    Returns:
        Scalar in [0, 4], computed in fp32.
    """
    distances = [
        (_unit_length(a) - _unit_length(b)).square().sum(dim=1).mean()
        for a, b in zip(prediction, target, strict=True)
    ]
    return torch.stack(distances).mean()


def perceptual_loss(network: FeatureNetwork, prediction: Tensor, target: Tensor) -> Tensor:
    """Distance of two image batches [N, 3, H, W] as ``network`` sees them; scalar.

    Gradients flow into ``prediction`` alone.
    """
    with torch.no_grad():
        wanted = network.features(target.detach())
    return feature_distance(network.features(prediction), wanted)


def _unit_length(features: Tensor) -> Tensor:
    features = features.float()
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + EPS)
