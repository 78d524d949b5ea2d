"""Distances between pairs of pictures."""

import pytest
import torch

from rs_train.metrics.distances import (
    feature_distance,
    identity_similarity,
    masked_error,
    mean_squared_error,
)
from rs_train.perceptual.metric import MetricConfig, MetricNetwork


@pytest.fixture(scope="module")
def network() -> MetricNetwork:
    torch.manual_seed(0)
    config = MetricConfig(image_size=32, channels=(4, 6, 8), embed_dim=5, attributes=("a",))
    return MetricNetwork(config).eval().requires_grad_(False)


def test_equal_pictures(network: MetricNetwork) -> None:
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    assert feature_distance(network, x, x).tolist() == [0, 0, 0]
    assert identity_similarity(network, x, x).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert mean_squared_error(x, x).tolist() == [0, 0, 0]


def test_feature_distance_equals_loops_over_positions() -> None:
    class Fixed:
        def features(self, image: torch.Tensor) -> list[torch.Tensor]:
            return [image, image[:, :2, ::2, ::2] + 1]

    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    expected = []
    for n in range(2):
        distance = 0.0
        for x, y in zip(Fixed().features(a), Fixed().features(b), strict=True):
            height, width = x.shape[2:]
            for i in range(height):
                for j in range(width):
                    u, v = x[n, :, i, j], y[n, :, i, j]
                    distance += (u / u.norm() - v / v.norm()).square().sum() / height / width
        expected.append(float(distance) / 2)
    assert feature_distance(Fixed(), a, b).tolist() == pytest.approx(expected, rel=1e-5)


def test_masked_error_sees_the_mask_alone() -> None:
    a = torch.zeros(1, 3, 4, 4)
    b = a.clone()
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    b[..., 2:] = 1  # the person differs
    assert masked_error(a, b, mask).item() == 0
    b[..., :2] = 0.5
    assert masked_error(a, b, mask).item() == pytest.approx(0.25)
