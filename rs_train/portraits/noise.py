"""Smooth seeded noise, in one and two dimensions."""

from __future__ import annotations

import cv2
import numpy as np


def field(seed: int, cells: int, shape: tuple[int, int]) -> np.ndarray:
    """Smooth noise of about `cells` features across, float32 [H, W], roughly in [-1, 1]."""
    grid = np.random.default_rng(seed).uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)


def strands(seed: int, coordinate: np.ndarray, frequency: float) -> np.ndarray:
    """Smooth noise along one coordinate, float32 like it, roughly in [-1, 1]."""
    table = np.random.default_rng(seed).uniform(-1, 1, 512).astype(np.float32)
    table = cv2.resize(table[None, :], (4096, 1), interpolation=cv2.INTER_CUBIC)
    where = np.clip((coordinate * np.float32(frequency) + 256) * 8, 0, 4095)
    return cv2.remap(table, where, np.zeros_like(where), cv2.INTER_LINEAR)
