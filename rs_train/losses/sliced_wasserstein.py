"""Sliced Wasserstein distance between sets of feature vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of the projections, averaged over the directions.

    Args:
        a: Vectors [M, C].
        b: Vectors [M, C], as many as `a`.
        directions: Unit vectors [K, C].

    Returns:
        Scalar; each projection is sorted and compared rank by rank, which is the exact
        one-dimensional optimal transport.

    Raises:
        ValueError: The sets differ in size.

    Source: Bonneel et al. 2015; used on features by Heitz et al. 2021.
    """
    if a.shape != b.shape:
        raise ValueError(f"sets of different shapes {tuple(a.shape)} and {tuple(b.shape)}")
    projected_a = torch.sort(a @ directions.T, dim=0).values
    projected_b = torch.sort(b @ directions.T, dim=0).values
    return (projected_a - projected_b).square().mean()


def random_directions(count: int, dimension: int, like: Tensor) -> Tensor:
    """`count` uniformly distributed unit vectors [count, dimension] on the device of `like`."""
    return F.normalize(torch.randn(count, dimension, dtype=like.dtype, device=like.device), dim=1)


def feature_texture_distance(
    maps_a: list[Tensor], maps_b: list[Tensor], *, directions: int = 32
) -> Tensor:
    """Sum over feature maps of the sliced Wasserstein distance of all positions' vectors.

    Args:
        maps_a: Maps [N, C, H, W] of generated pictures.
        maps_b: Maps of reference pictures, same shapes; which picture or position a vector comes
            from is ignored, so the sets need not show the same things.
        directions: Fresh random projections a map.

    Returns:
        Scalar; each map is divided by the reference's root mean square first.
    """
    total = torch.zeros((), device=maps_a[0].device)
    for a, b in zip(maps_a, maps_b, strict=True):
        a = a.float().movedim(1, -1).flatten(0, -2)
        b = b.float().movedim(1, -1).flatten(0, -2)
        scale = torch.rsqrt(b.square().mean() + 1e-8)
        unit = random_directions(directions, a.shape[1], a)
        total = total + sliced_wasserstein(a * scale, b * scale, unit)
    return total
