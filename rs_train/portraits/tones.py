"""Light and palette of a domain. Pictures here are sRGB float32 [H, W, 3] in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.canvas import Layers
from rs_train.portraits.geometry import smoothstep
from rs_train.portraits.scene import Scene

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def display(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB with a soft shoulder."""
    light = np.clip(linear, 0, None)
    light = np.minimum(light, 0.55 + 0.45 * np.tanh((light - 0.55) / 0.45))
    return cv2.pow(light, 1 / 2.2)


def luminance(picture: np.ndarray) -> np.ndarray:
    """Weighted sum of the channels, float32 [H, W]."""
    return cv2.transform(picture, _LUMA[None, :])


def _shading(layers: Layers) -> np.ndarray:
    """How bright the light makes each place, about 1 in full light, float32 [H, W]."""
    ratio = (luminance(layers.light) + 0.004) / (luminance(layers.flat) + 0.004)
    ratio = cv2.GaussianBlur(ratio, (0, 0), 0.011 / layers.camera.pixel)
    return np.clip(ratio, 0, 2)


def _blend(picture: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return picture + (other - picture) * palette.spread(alpha)


def _scene_light(layers: Layers) -> np.ndarray:
    return display(layers.light)


def _soft_light(layers: Layers) -> np.ndarray:
    """Shading kept, contrast low, the background lifted towards paper."""
    light = 0.12 * layers.flat + 0.80 * layers.light
    picture = display(light)
    behind = cv2.GaussianBlur(layers.masks["background"], (0, 0), 0.02 / layers.camera.pixel)
    lifted = 0.66 + 0.30 * picture
    return _blend(picture, lifted, 0.85 * behind)


def _banded_light(layers: Layers) -> np.ndarray:
    """Flat colours in three tones of light, as in cel animation."""
    shade = _shading(layers)
    edge = 0.035
    lit = smoothstep(0.66 - edge, 0.66 + edge, shade)
    bright = smoothstep(1.16 - edge, 1.16 + edge, shade)
    amount = 0.50 + 0.42 * lit + 0.22 * bright
    flat = cv2.GaussianBlur(layers.flat, (0, 0), 0.006 / layers.camera.pixel)
    return display(flat * palette.spread(amount))


def _dramatic_light(layers: Layers) -> np.ndarray:
    """More contrast, and a background that sinks into the dark away from the light."""
    picture = display(layers.light * np.float32(1.05))
    picture = picture + 0.25 * (picture - 0.5) * picture
    behind = cv2.GaussianBlur(layers.masks["background"], (0, 0), 0.02 / layers.camera.pixel)
    x, y = layers.camera.frame_x, layers.camera.frame_y
    dark = 0.30 + 0.28 * np.exp(-(x * x + (y - 0.1) ** 2) / 0.9)
    return picture * palette.spread(1 - behind * (1 - dark))


def _ramp(*stops: tuple[int, int, int]) -> np.ndarray:
    return np.asarray(stops, np.float32) / 255


def _through(tone: np.ndarray, ramp: np.ndarray) -> np.ndarray:
    """Maps tone in [0, 1] to a ramp of colours [K, 3] from dark to light."""
    fine = np.linspace(0, len(ramp) - 1, 256)
    table = [np.interp(fine, np.arange(len(ramp)), ramp[:, k]) for k in range(3)]
    where = np.clip(tone, 0, 1) * 255
    row = np.zeros_like(where)
    return cv2.merge([
        cv2.remap(channel.astype(np.float32)[None, :], where, row, cv2.INTER_LINEAR)
        for channel in table
    ])  # fmt: skip


_GRAPHITE = _ramp((52, 50, 54), (104, 101, 101), (158, 153, 147), (203, 195, 182), (226, 218, 202))
_CHARCOAL = _ramp((26, 24, 25), (66, 62, 61), (124, 118, 113), (190, 181, 170), (214, 204, 190))
_SEPIA = _ramp((38, 24, 16), (104, 74, 48), (176, 140, 100), (226, 202, 166), (246, 232, 206))
_POP_INKS = (
    _ramp((34, 30, 92), (222, 40, 122), (250, 190, 62), (255, 244, 214)),
    _ramp((64, 18, 84), (226, 62, 56), (255, 158, 66), (255, 236, 196)),
    _ramp((10, 72, 92), (232, 84, 128), (255, 178, 150), (255, 240, 226)),
    _ramp((20, 34, 110), (24, 140, 214), (120, 214, 222), (250, 250, 220)),
)
_INK = _ramp((22, 26, 46), (40, 52, 88), (104, 126, 156), (214, 214, 204), (244, 238, 222))


def _graphite(picture: np.ndarray, scene: Scene) -> np.ndarray:
    return _through(0.02 + 0.96 * luminance(picture) ** 1.25, _GRAPHITE)


def _charcoal(picture: np.ndarray, scene: Scene) -> np.ndarray:
    tone = luminance(picture)
    return _through(smoothstep(0.02, 0.95, tone), _CHARCOAL)


def _sepia(picture: np.ndarray, scene: Scene) -> np.ndarray:
    return _through(luminance(picture), _SEPIA)


def _ink(picture: np.ndarray, scene: Scene) -> np.ndarray:
    return _through(smoothstep(0.12, 0.78, luminance(picture)), _INK)


def _saturated(picture: np.ndarray, scene: Scene) -> np.ndarray:
    grey = palette.spread(luminance(picture))
    vivid = grey + 1.42 * (picture - grey)
    return np.clip(0.06 + 1.02 * vivid, 0, 1)


def _light(picture: np.ndarray, scene: Scene) -> np.ndarray:
    grey = palette.spread(luminance(picture))
    return np.clip(0.15 + 0.85 * (grey + 1.30 * (picture - grey)), 0, 1)


def _warm(picture: np.ndarray, scene: Scene) -> np.ndarray:
    """Golden lights over umber shadows."""
    tone = luminance(picture)
    gold, umber = np.array([1.02, 0.95, 0.82], np.float32), np.array([0.16, 0.09, 0.04], np.float32)
    rich = picture + 0.10 * (picture - palette.spread(tone))
    rich = rich * (0.25 + 0.75 * gold)
    shadow = smoothstep(0.42, 0.0, tone)
    return np.clip(rich * palette.spread(1 - 0.35 * shadow) + palette.tint(umber, shadow), 0, 1)


def _pop(picture: np.ndarray, scene: Scene) -> np.ndarray:
    """Four flat inks chosen by the picture's brightness."""
    inks = _POP_INKS[int(scene["background_hue"] * len(_POP_INKS)) % len(_POP_INKS)]
    tone = luminance(picture)
    out = palette.tint(inks[0], np.ones_like(tone))
    for ink, threshold in zip(inks[1:], (0.26, 0.50, 0.74), strict=True):
        palette.mix(out, ink, smoothstep(threshold - 0.03, threshold + 0.03, tone))
    return out


def _natural(picture: np.ndarray, scene: Scene) -> np.ndarray:
    return picture


LIGHTS: Final[dict[str, Callable[[Layers], np.ndarray]]] = {
    "scene": _scene_light,
    "soft": _soft_light,
    "banded": _banded_light,
    "dramatic": _dramatic_light,
}
PALETTES: Final[dict[str, Callable[[np.ndarray, Scene], np.ndarray]]] = {
    "natural": _natural,
    "graphite": _graphite,
    "charcoal": _charcoal,
    "sepia": _sepia,
    "ink": _ink,
    "saturated": _saturated,
    "light": _light,
    "warm": _warm,
    "pop": _pop,
}
