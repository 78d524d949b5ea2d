"""From a drawn scene to its look in a domain."""

from __future__ import annotations

import cv2
import numpy as np

from rs_train.portraits.canvas import SUPERSAMPLE, Layers
from rs_train.portraits.domains import DomainStyle
from rs_train.portraits.media import LINES, MEDIA
from rs_train.portraits.scene import Scene
from rs_train.portraits.tones import LIGHTS, PALETTES, display


def _shrink(image: np.ndarray) -> np.ndarray:
    size = image.shape[0] // SUPERSAMPLE
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def develop(light: np.ndarray) -> np.ndarray:
    """Linear light [2S, 2S, 3] to sRGB float32 [S, S, 3] in [0, 1], with a soft shoulder."""
    return display(_shrink(light))


def stylise(style: DomainStyle, scene: Scene, layers: Layers) -> np.ndarray:
    """The scene's picture in a domain, sRGB float32 [S, S, 3] in [0, 1]."""
    picture = LIGHTS[style.light](layers)
    picture = PALETTES[style.palette](picture, scene)
    picture = MEDIA[style.medium](picture, layers)
    picture = LINES[style.line](picture, layers)
    return np.clip(_shrink(picture), 0, 1)
