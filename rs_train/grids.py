"""Grids of pictures for sample files."""

import numpy as np
from torch import Tensor

from rs_train.pixels import to_levels


def to_pixels(images: Tensor) -> np.ndarray:
    """Turn images [N, 3, H, W] in [-1, 1] into uint8 [N, H, W, 3]."""
    return to_levels(images).permute(0, 2, 3, 1).cpu().numpy()


def grid(pixels: np.ndarray, columns: int) -> np.ndarray:
    """Lay uint8 [N, H, W, 3] out in rows of `columns`; N must be a multiple of it."""
    count, height, width, _ = pixels.shape
    rows = pixels.reshape(count // columns, columns, height, width, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, 3)
