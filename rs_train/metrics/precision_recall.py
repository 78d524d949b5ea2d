"""Precision and recall of generated pictures: how many are good, and how much is covered."""

from typing import NamedTuple

import numpy as np


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]."""

    precision: float  # of the generated pictures that lie among the real ones
    recall: float  # of the real pictures that lie among the generated ones


def precision_recall(
    generated: np.ndarray, real: np.ndarray, neighbours: int = 3
) -> PrecisionRecall:
    """Improved precision and recall of two samples of embeddings.

    A sample is taken to cover the balls around its points, each as large as the distance to the
    point's k-th nearest neighbour in the sample. Both numbers depend on the sizes of the samples:
    compare rows of equal counts.

    Args:
        generated: Embeddings [N, D], N above `neighbours`.
        real: Embeddings [M, D], M above `neighbours`.
        neighbours: k, 3 as published.

    Returns:
        The shares of points that lie within a ball of the other sample, borders included.

    Raises:
        ValueError: A sample has no k-th neighbour.

    Source: Kynkäänniemi et al. 2019, Eqs. 1 and 2.
    """
    for sample in (generated, real):
        if len(sample) <= neighbours:
            raise ValueError(f"{len(sample)} embeddings have no neighbour number {neighbours}")
    across = _distances(generated, real)
    is_real = across <= _radii(real, neighbours)
    is_found = across <= _radii(generated, neighbours)[:, None]
    return PrecisionRecall(float(is_real.any(axis=1).mean()), float(is_found.any(axis=0).mean()))


def _radii(x: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance [N] of each point to its k-th neighbour; the zeroth is the point itself."""
    return np.partition(_distances(x, x), neighbours, axis=1)[:, neighbours]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances [N, M] in float64; from differences, so that equal points have none."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.stack([np.linalg.norm(b - point, axis=1) for point in a])
