"""The picture being drawn: light, flat colour and coverage of each part, at twice its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.geometry import Camera, Surface, Window

SUPERSAMPLE: Final = 2
MASK_NAMES: Final = (
    "background", "clothes", "skin", "face", "hair", "eyes", "lips", "glasses", "extras",
)  # fmt: skip


@dataclass(frozen=True)
class Layers:
    """A drawn scene before it becomes a photo, a sketch or a painting.

    Attributes:
        light: linear RGB as the camera sees it, float32 [2S, 2S, 3].
        flat: the same things' own colours without light, float32 [2S, 2S, 3].
        masks: coverage of each part where it is in front, float32 [2S, 2S] in [0, 1].
        camera: of the scene.
        head: the surface of the bare head.
    """

    light: np.ndarray
    flat: np.ndarray
    masks: dict[str, np.ndarray]
    camera: Camera
    head: Surface


class Canvas:
    """Takes layers back to front and keeps light, flat colour and masks in step."""

    def __init__(self, background: np.ndarray, *, with_flat: bool) -> None:
        """Starts from the background, linear RGB float32 [H, W, 3].

        Args:
            background: is kept and drawn on.
            with_flat: keep the flat colours too; without, `flat` is `light`.
        """
        self.light = background
        self.flat = background.copy() if with_flat else background
        shape = background.shape[:2]
        self.masks = {name: np.zeros(shape, np.float32) for name in MASK_NAMES}
        self.masks["background"] += 1

    def targets(self, window: Window) -> list[np.ndarray]:
        """Views of the pictures that are being drawn."""
        whole = [self.light] if self.flat is self.light else [self.light, self.flat]
        return [image[window] for image in whole]

    def put(
        self,
        colour: np.ndarray,
        flat: np.ndarray,
        alpha: np.ndarray,
        *names: str,
        window: Window = (slice(None), slice(None)),
    ) -> None:
        """Lays something over a rectangle.

        Args:
            colour: lit colour, [h, w, 3].
            flat: own colour, [3] or [h, w, 3].
            alpha: coverage, [h, w].
            names: the parts it belongs to.
            window: the rectangle.
        """
        palette.mix(self.light[window], colour, alpha)
        if self.flat is not self.light:
            palette.mix(self.flat[window], flat, alpha)
        self.cover(alpha, *names, window=window)

    def cover(
        self, alpha: np.ndarray, *names: str, window: Window = (slice(None), slice(None))
    ) -> None:
        """Updates the masks for a layer that is in front of all before it."""
        rest = 1 - alpha
        for mask in self.masks.values():
            mask[window] *= rest
        for name in names:
            self.masks[name][window] += alpha
