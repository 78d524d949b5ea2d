"""Colours of skin, hair, eyes, cloth and light, in linear RGB float32 [3]."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from rs_train.portraits.scene import Scene

_SKIN = (
    (255, 219, 196),
    (240, 190, 158),
    (221, 166, 126),
    (192, 130, 92),
    (138, 88, 60),
    (88, 56, 41),
)
_HAIR = (
    (24, 19, 20),
    (52, 34, 26),
    (92, 58, 36),
    (140, 78, 38),
    (186, 138, 78),
    (222, 190, 130),
    (190, 188, 186),
)
_EYES = ((52, 32, 22), (96, 62, 34), (112, 104, 62), (74, 118, 88), (82, 128, 168), (118, 140, 156))


def linear(rgb: tuple[float, float, float]) -> np.ndarray:
    """sRGB bytes to linear light (gamma 2.2)."""
    return ((np.asarray(rgb, np.float32) / 255) ** 2.2).astype(np.float32)


def _ramp(stops: tuple[tuple[int, int, int], ...], t: float) -> np.ndarray:
    table = np.asarray(stops, np.float32)
    where = np.linspace(0, 1, len(table))
    mixed = [float(np.interp(t, where, table[:, k])) for k in range(3)]
    return linear((mixed[0], mixed[1], mixed[2]))


def skin(scene: Scene) -> np.ndarray:
    """The skin's albedo."""
    warm = scene["skin_warmth"]
    return _ramp(_SKIN, scene["skin"]) * np.array([1 + 0.05 * warm, 1, 1 - 0.10 * warm], np.float32)


def hair(scene: Scene) -> np.ndarray:
    """The hair's albedo."""
    return _ramp(_HAIR, scene["hair_tone"])


def iris(scene: Scene) -> np.ndarray:
    """The iris's albedo."""
    return _ramp(_EYES, scene["eye_hue"])


def lips(scene: Scene) -> np.ndarray:
    """The lips' albedo: the skin's, redder."""
    red = 0.42 + 0.5 * scene["lip_red"]
    return skin(scene) * np.array([0.98, 1 - 0.62 * red, 1 - 0.5 * red], np.float32)


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """A linear colour from hue, saturation and value of its sRGB bytes."""
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return linear((255 * r, 255 * g, 255 * b))


def spread(values: np.ndarray) -> np.ndarray:
    """A map [H, W] repeated over three channels; far faster than NumPy's broadcast."""
    values = np.ascontiguousarray(values, np.float32)
    return cv2.merge((values, values, values))


def tint(colour: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`colour` [3] times a map [H, W], float32 [H, W, 3]."""
    return cv2.merge([np.multiply(values, c, dtype=np.float32) for c in colour.astype(np.float32)])


def mix(image: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> None:
    """Paints `colour` ([3] or [H, W, 3]) over `image` [H, W, 3] in place, where alpha [H, W]."""
    if colour.ndim == 1:
        red, green, blue = (float(c) for c in colour)
        change = cv2.subtract((red, green, blue, 0.0), np.ascontiguousarray(image))
    else:
        change = colour - image
    change *= spread(alpha)
    image += change
