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


def neighbourhoods(image: Tensor, pool: int = 4) -> Tensor:
    """Coarse colours around each place, with the place itself, as a feature map.

    Args:
        image: [N, 3, H, W] in [-1, 1].
        pool: Pooling factor.

    Returns:
        [N, 29, H / pool, W / pool]: the colours of 3 x 3 pooled cells, then x and y in [-2, 2]:
        heads are aligned, so a palette has its places.
    """
    pooled = F.avg_pool2d(image.float(), pool)
    n, _, height, width = pooled.shape
    colours = F.unfold(F.pad(pooled, (1,) * 4, mode="replicate"), 3).reshape(n, 27, height, width)
    down = torch.linspace(-2, 2, height, device=image.device)
    right = torch.linspace(-2, 2, width, device=image.device)
    place = torch.stack(torch.meshgrid(down, right, indexing="ij")).flip(0)
    return torch.cat([colours, place.expand(n, -1, -1, -1)], dim=1)


def texture_distance(
    maps_a: list[Tensor],
    maps_b: list[Tensor],
    *,
    directions: int = 32,
    positions: int = 2048,
    scaled: bool = True,
) -> Tensor:
    """Mean over feature maps of the sliced Wasserstein distance of the positions' vectors.

    Args:
        maps_a: Maps [N, C, H, W] of generated pictures.
        maps_b: Maps of reference pictures, same shapes; which picture or position a vector comes
            from is ignored, so the sets need not show the same things.
        directions: Fresh random projections a map.
        positions: Vectors drawn from a map where it has more.
        scaled: Divide each map by the reference's root mean square first.

    Returns:
        Scalar.
    """
    distances = []
    # Ranks need more digits than bf16 has.
    with torch.autocast(maps_a[0].device.type, enabled=False):
        for a, b in zip(maps_a, maps_b, strict=True):
            vectors_a, vectors_b = _drawn_vectors(a, positions), _drawn_vectors(b, positions)
            scale = torch.rsqrt(vectors_b.square().mean() + 1e-8) if scaled else 1.0
            unit = random_directions(directions, a.shape[1], vectors_a)
            distances.append(sliced_wasserstein(vectors_a * scale, vectors_b * scale, unit))
    return torch.stack(distances).mean()


def _drawn_vectors(x: Tensor, count: int) -> Tensor:
    """At most `count` random positions' vectors of a map [N, C, H, W], as fp32 [M, C]."""
    vectors = x.movedim(1, -1).flatten(0, -2)
    if len(vectors) > count:
        vectors = vectors[torch.randint(len(vectors), (count,), device=x.device)]
    return vectors.float()
