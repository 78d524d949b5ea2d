"""Precision and recall on the balls of nearest neighbours."""

import math

import numpy as np
import pytest

from rs_train.metrics.precision_recall import precision_recall


def share_inside(points: list, sample: list, neighbours: int) -> float:
    """Kynkäänniemi et al. 2019, Eq. 1, one pair at a time."""
    inside = 0
    for point in points:
        found = False
        for i, centre in enumerate(sample):
            others = [math.dist(centre, other) for j, other in enumerate(sample) if j != i]
            found = found or math.dist(point, centre) <= sorted(others)[neighbours - 1]
        inside += found
    return inside / len(points)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_equals_loops_over_pairs(neighbours: int) -> None:
    rng = np.random.default_rng(0)
    generated, real = rng.normal(size=(40, 4)), 1.3 * rng.normal(size=(30, 4)) + 1.5
    found = precision_recall(generated, real, neighbours)
    a, b = generated.tolist(), real.tolist()
    assert found.precision == pytest.approx(share_inside(a, b, neighbours))
    assert found.recall == pytest.approx(share_inside(b, a, neighbours))
    assert 0 < found.precision < 1 and 0 < found.recall < 1


def test_a_collapsed_generator_is_precise_and_recalls_little() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 8))
    collapsed = real[:1] + 0.01 * rng.normal(size=(200, 8))
    assert precision_recall(collapsed, real).precision == 1
    assert precision_recall(collapsed, real).recall < 0.05
    assert precision_recall(real + 100, real) == (0, 0)


def test_equal_samples_cover_each_other_even_where_points_coincide() -> None:
    point = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    assert precision_recall(point.repeat(5, axis=0), point.repeat(6, axis=0)) == (1, 1)


def test_too_small_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="3 embeddings"):
        precision_recall(np.zeros((10, 2)), np.zeros((3, 2)))
