"""Distances between distributions."""

import numpy as np
import pytest

from rs_train.metrics.frechet import (
    frechet_distance,
    frechet_embedding_distance,
    kernel_distance,
    shrunk_moments,
)


def test_known_gaussians() -> None:
    mean_a, mean_b = np.array([0.0, 1.0]), np.array([3.0, 1.0])
    cov_a, cov_b = np.diag([4.0, 9.0]), np.diag([1.0, 16.0])
    # (2 - 1)^2 + (3 - 4)^2 in deviations, 3^2 in means
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(11.0)


def test_rotated_gaussians_equal_the_matrix_root() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(4, 4)) for _ in range(2))
    cov_a, cov_b = a @ a.T, b @ b.T
    # the eigenvalues of C_a C_b are those of the symmetric product
    root_trace = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real).sum()
    expected = np.trace(cov_a) + np.trace(cov_b) - 2 * root_trace
    assert frechet_distance(np.zeros(4), cov_a, np.zeros(4), cov_b) == pytest.approx(expected)


def test_equal_sets_are_at_distance_zero_even_if_few() -> None:
    x = np.random.default_rng(0).normal(size=(6, 20))
    assert frechet_embedding_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_shrinkage_helps_a_small_sample() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 30)), rng.normal(size=(40, 30))
    plain = frechet_distance(*shrunk_moments(a, 0.0), *shrunk_moments(b, 0.0))
    assert frechet_embedding_distance(a, b) < 0.5 * plain
    far = frechet_embedding_distance(a, b + 1)
    assert far == pytest.approx(frechet_embedding_distance(a, b) + 30, rel=0.2)


def test_kernel_distance_equals_loops_and_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)) + 1

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / 3 + 1) ** 3

    def within(x: np.ndarray) -> float:
        pairs = [kernel(u, v) for i, u in enumerate(x) for j, v in enumerate(x) if i != j]
        return float(np.mean(pairs))

    across = np.mean([kernel(u, v) for u in a for v in b])
    assert kernel_distance(a, b) == pytest.approx(within(a) + within(b) - 2 * across)
    draws = [kernel_distance(*rng.normal(size=(2, 20, 3))) for _ in range(300)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(300)
