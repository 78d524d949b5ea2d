"""Numbers of one row of a table: pictures against the pictures that they should be."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rs_train.metrics.distances import (
    feature_distance,
    identity_similarity,
    masked_error,
    mean_squared_error,
)
from rs_train.metrics.frechet import frechet_embedding_distance, kernel_distance
from rs_train.perceptual.metric import MetricNetwork
from rs_train.pixels import from_levels, to_levels

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Means over the pictures of a row.

    Attributes:
        count: Number of pictures.
        mse: Squared error on the scale [-1, 1].
        mse_p50: Median of the pictures' squared errors.
        mse_p99: Their 99th percentile.
        feature_distance: LPIPS-type distance on the metric network's features.
        identity: Cosine of the metric network's identities, to the person's reference picture.
        background: Squared error over the background alone.
        frechet: Fréchet distance between the sets, on the metric network's pooled features.
        kernel: Unbiased kernel distance between the sets, on the same features.
    """

    count: int
    mse: float
    mse_p50: float
    mse_p99: float
    feature_distance: float
    identity: float
    background: float
    frechet: float
    kernel: float


@torch.no_grad()
def measure(
    network: MetricNetwork, images: Tensor, truth: Tensor, person: Tensor, background: Tensor
) -> Measured:
    """Compare pictures with the truth.

    Args:
        network: The metric network.
        images: [N, 3, H, W] in [-1, 1].
        truth: What they should be, same shape.
        person: Pictures whose identity they should have, same shape.
        background: Mask [N, 1, H, W] of the truth.
    """

    def mean_of(function: Callable[..., Tensor], *columns: Tensor) -> Tensor:
        parts = zip(*(column.split(BATCH) for column in columns), strict=True)
        return torch.cat([function(*part) for part in parts])

    mse = mean_of(mean_squared_error, images, truth)
    embedded = mean_of(network.embed, images).numpy()
    wanted = mean_of(network.embed, truth).numpy()
    return Measured(
        count=len(images),
        mse=float(mse.mean()),
        mse_p50=float(np.median(mse.numpy())),
        mse_p99=float(np.percentile(mse.numpy(), 99)),
        feature_distance=float(
            mean_of(lambda a, b: feature_distance(network, a, b), images, truth).mean()
        ),
        identity=float(
            mean_of(lambda a, b: identity_similarity(network, a, b), images, person).mean()
        ),
        background=float(mean_of(masked_error, images, truth, background).mean()),
        frechet=frechet_embedding_distance(embedded, wanted),
        kernel=kernel_distance(embedded, wanted),
    )


def quantised(image: Tensor) -> Tensor:
    """What a user gets to see: clamped to [-1, 1] and rounded to 8 bits, as floats again."""
    return from_levels(to_levels(image))
