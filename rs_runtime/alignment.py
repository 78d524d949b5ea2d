"""Oriented crops of faces, as the pictures of FFHQ are cropped, and their way back into the photo.

Points are (x, y) in pixels; the centre of the photo's first pixel is (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_FEATHER = 0.22  # part of the half side over which a pasted crop fades out
_CORNERS = 2.6  # exponent of the superellipse that it fades along; 2 is a circle
_MARGIN = 3  # pixels that interpolation looks beyond a region


@dataclass(frozen=True)
class Square:
    """Where a face's crop lies in its photo.

    Attributes:
        centre: float64 [2].
        half: float64 [2], from the centre to the middle of the crop's right edge.
    """

    centre: NDArray[np.float64]
    half: NDArray[np.float64]

    @property
    def side(self) -> float:
        """Length of an edge in pixels of the photo."""
        return 2.0 * float(np.hypot(*self.half))

    def to_photo(self, size: int) -> NDArray[np.float64]:
        """The affine map [2, 3] from pixels of a crop of `size` x `size` to pixels of the photo."""
        right, down = self.half, _turned(self.half)
        first = self.centre + (right + down) * (1.0 / size - 1.0)
        return np.stack([right * (2.0 / size), down * (2.0 / size), first], axis=1)

    def corners(self) -> NDArray[np.float64]:
        """The corners [4, 2], clockwise from the crop's upper left."""
        right, down = self.half, _turned(self.half)
        return self.centre + np.stack([-right - down, right - down, right + down, down - right])

    def share_inside(self, height: int, width: int) -> float:
        """Which part of the crop's area lies inside a photo, 0 to 1."""
        frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
        common, _ = cv2.intersectConvexConvex(self.corners().astype(np.float32), frame)
        return float(common) / self.side**2

    def crop(self, photo: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """Cuts the square out.

        The photo is sampled as densely as its own pixels lie and the samples are averaged, so that
        a large face is shrunk without aliasing. Beyond its edges the photo is mirrored.

        Args:
            photo: uint8 [H, W, 3].
            size: Side of the result in pixels.

        Returns:
            uint8 [size, size, 3].
        """
        dense = max(1, math.ceil(self.side / size))
        rows, columns = self._region(photo)
        matrix = _shifted(self.to_photo(size * dense), columns.start, rows.start)
        samples = cv2.warpAffine(
            photo[rows, columns],
            matrix,
            (size * dense, size * dense),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA)

    def paste(self, photo: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Blends a picture of the crop into the photo; it fades out towards the square's edges.

        Args:
            photo: uint8 [H, W, 3].
            picture: uint8 [P, P, 3], a crop of any size, restyled.

        Returns:
            uint8 [H, W, 3], a new array; outside the square every pixel is the photo's.
        """
        size = max(1, min(len(picture), round(self.side)))
        layer = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        rows, columns = self._region(photo)
        matrix = _shifted(self.to_photo(size), columns.start, rows.start)
        below = photo[rows, columns].astype(np.float32)
        shape = below.shape[1::-1]
        above = cv2.warpAffine(
            layer, matrix, shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        weight = cv2.warpAffine(_fade(size), matrix, shape, flags=cv2.INTER_LINEAR)[..., None]
        result = photo.copy()
        result[rows, columns] = np.rint(below + weight * (above - below))
        return result

    def _region(self, photo: NDArray[np.uint8]) -> tuple[slice, slice]:
        """The rows and columns of the photo that the square reaches; at least one of each."""
        corners = self.corners()
        low = np.floor(corners.min(axis=0)).astype(int) - _MARGIN
        high = np.ceil(corners.max(axis=0)).astype(int) + _MARGIN + 1
        limits = photo.shape[1::-1]
        columns, rows = (
            slice(min(max(first, 0), limit - 1), max(min(last, limit), 1))
            for first, last, limit in zip(low.tolist(), high.tolist(), limits, strict=True)
        )
        return rows, columns


def ffhq_square(points: NDArray[np.floating]) -> Square:
    """The square that FFHQ's alignment cuts out around a face (Karras et al., 2019, appendix).

    It is turned so that the line of the eyes and the way from eyes to mouth agree best with its
    axes; half its side is the larger of 2.0 eye distances and 1.8 ways from eyes to mouth; its
    centre lies a tenth of that way below the eyes.

    Args:
        points: Left eye, right eye, nose tip, left and right mouth corner, [5, 2]; left and right
            are the picture's. Eyes and mouth must not all coincide.
    """
    left, right, _, mouth_left, mouth_right = np.asarray(points, np.float64)
    eyes = (left + right) / 2
    across = right - left
    down = (mouth_left + mouth_right) / 2 - eyes
    axis = across - _turned(down)
    length = max(2.0 * float(np.hypot(*across)), 1.8 * float(np.hypot(*down)))
    return Square(eyes + 0.1 * down, axis * (length / max(float(np.hypot(*axis)), 1e-12)))


def _turned(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """A vector turned from the picture's right to its bottom."""
    return np.array([-vector[1], vector[0]])


def _shifted(matrix: NDArray[np.float64], left: int, top: int) -> NDArray[np.float64]:
    """A map into the photo as a map into the region whose first pixel is (left, top)."""
    return matrix - np.array([[0, 0, left], [0, 0, top]])


def _fade(size: int) -> NDArray[np.float32]:
    """Weight of a pasted crop's pixels, float32 [size, size]: 1 in the middle, 0 at the edges."""
    axis = np.abs((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0) ** _CORNERS
    radius = (axis[:, None] + axis[None, :]) ** (1.0 / _CORNERS)
    t = np.clip((1.0 - radius) / _FEATHER, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
