"""Distances between two distributions of embeddings."""

import numpy as np


def shrunk_moments(x: np.ndarray, shrinkage: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a small sample, the covariance shrunk towards a multiple of I.

    Args:
        x: Embeddings [N, D], N at least 2.
        shrinkage: Weight of the target in [0, 1]; None takes Ledoit and Wolf's optimum.

    Returns:
        Mean [D] and covariance [D, D], float64.

    Source: Ledoit and Wolf 2004, section 3.
    """
    x = np.asarray(x, np.float64)
    n, d = x.shape
    mean = x.mean(axis=0)
    centred = x - mean
    covariance = centred.T @ centred / n
    variance = np.trace(covariance) / d
    if shrinkage is None:
        spread = np.square(covariance - variance * np.eye(d)).sum()
        fourth = np.square(np.square(centred).sum(axis=1)).sum() / n
        noise = (fourth - np.square(covariance).sum()) / n
        shrinkage = float(np.clip(noise / spread, 0, 1)) if spread > 0 else 1.0
    return mean, (1 - shrinkage) * covariance + shrinkage * variance * np.eye(d)


def frechet_distance(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two Gaussians.

    Args:
        mean_a: [D].
        cov_a: Positive semi-definite [D, D].
        mean_b: [D].
        cov_b: Positive semi-definite [D, D].

    Returns:
        The squared Fréchet distance (Dowson and Landau 1982; Heusel et al. 2017, Eq. 6), with the
        root's trace from the symmetric product C_a^(1/2) C_b C_a^(1/2), which needs no complex
        matrix root.
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ cov_b @ root)
    trace_root = np.sqrt(np.maximum(inner, 0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * trace_root
    return float(max(distance, 0.0))


def frechet_embedding_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two samples of embeddings [N, D] and [M, D], covariances shrunk."""
    return frechet_distance(*shrunk_moments(a), *shrunk_moments(b))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the cubic kernel (x.y / D + 1)^3.

    Args:
        a: Embeddings [N, D], N at least 2.
        b: Embeddings [M, D], M at least 2.

    Returns:
        The estimate; unbiased, so it may be a little below zero for equal distributions.

    Source: Bińkowski et al. 2018 (KID), Eq. 4 and section 3.1.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n, m, d = len(a), len(b), a.shape[1]
    within_a = (a @ a.T / d + 1) ** 3
    within_b = (b @ b.T / d + 1) ** 3
    across = (a @ b.T / d + 1) ** 3
    mean_a = (within_a.sum() - np.trace(within_a)) / (n * (n - 1))
    mean_b = (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
    return float(mean_a + mean_b - 2 * across.mean())
