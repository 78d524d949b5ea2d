"""Distances between pairs of pictures, one number a pair."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class FeatureNetwork(Protocol):
    """A network with feature maps."""

    def features(self, image: Tensor) -> list[Tensor]:
        """Maps [N, C, h, w] of pictures [N, 3, H, W] in [-1, 1]."""


class IdentityNetwork(Protocol):
    """A network with an identity embedding."""

    def identity(self, image: Tensor) -> Tensor:
        """Unit vectors [N, D] of pictures [N, 3, H, W] in [-1, 1]."""


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Per-pair mean squared error [N] of pictures [N, 3, H, W] on the scale [-1, 1]."""
    return (a - b).square().mean(dim=(1, 2, 3))


def feature_distance(network: FeatureNetwork, a: Tensor, b: Tensor) -> Tensor:
    """LPIPS-type distance of pairs of pictures.

    Args:
        network: Gives the maps.
        a: Pictures [N, 3, H, W] in [-1, 1].
        b: Pictures, same shape.

    Returns:
        [N]: per map, vectors are scaled to unit length over channels and the squared difference
        averaged over positions; then averaged over maps.

    Source: Zhang et al. 2018 (LPIPS), Eq. 1, without its learnt channel weights.
    """
    return map_distance(network.features(a), network.features(b))


def map_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """`feature_distance` of maps [N, C_l, h_l, w_l]; [N] in [0, 4], computed in fp32."""
    distances = [
        (unit_channels(x) - unit_channels(y)).square().sum(dim=1).mean(dim=(1, 2))
        for x, y in zip(a, b, strict=True)
    ]
    return torch.stack(distances).mean(dim=0)


def unit_channels(x: Tensor) -> Tensor:
    """[N, C, H, W] in fp32 with unit length along C (zero vectors stay zero)."""
    x = x.float()
    return x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + 1e-10)


def identity_similarity(network: IdentityNetwork, a: Tensor, b: Tensor) -> Tensor:
    """Cosine [N] of the identity embeddings of pairs of pictures."""
    return (network.identity(a) * network.identity(b)).sum(dim=1)


def masked_error(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Per-pair mean squared error [N] over a part of the picture, on the scale [-1, 1].

    Args:
        a: Pictures [N, 3, H, W].
        b: Pictures, same shape.
        mask: [N, 1, H, W] in [0, 1], 1 within the part.

    Returns:
        [N]; a picture without the part counts zero.
    """
    area = mask.sum(dim=(1, 2, 3)).clamp(min=1e-8) * a.shape[1]
    return ((a - b).square() * mask).sum(dim=(1, 2, 3)) / area


def mean_pairwise_distance(embeddings: Tensor) -> Tensor:
    """Mean of 1 - cosine over the pairs of embeddings [N, D]; scalar.

    The diversity of HyperDomainNet (Alanov et al. 2022, section 5), there on CLIP's embeddings.
    """
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    count = len(unit)
    return 1 - ((unit @ unit.T).sum() - count) / (count * (count - 1))
