"""Medium and line of a domain. Pictures here are sRGB float32 [H, W, 3] in [0, 1].

Textures are fixed in the frame and bend with the head, so that a generator can learn them; every
stroke is about two pixels wide or more at 128 x 128.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.canvas import Layers
from rs_train.portraits.geometry import smoothstep
from rs_train.portraits.noise import field
from rs_train.portraits.tones import display, luminance

_PAPER_SEED = 77


def _blur(image: np.ndarray, sigma: float, layers: Layers) -> np.ndarray:
    """Gaussian blur by a length in frame units."""
    return cv2.GaussianBlur(image, (0, 0), sigma / layers.camera.pixel)


def _form(layers: Layers) -> np.ndarray:
    """A smooth depth that hatching bends with, float32 [H, W]."""
    x, y = layers.camera.frame_x, layers.camera.frame_y
    body = 0.5 * np.sqrt(np.clip(1 - (x / 1.4) ** 2, 0, 1)) - 0.2 * np.clip(y - 0.7, 0, 1)
    inside = smoothstep(-0.02, 0.25, layers.head.inside)
    return body + inside * (np.clip(layers.head.depth, 0, 1) - body)


def _hatch(layers: Layers, angle: float, period: float) -> np.ndarray:
    """Parallel strokes that follow the form, in [0, 1], float32 [H, W]."""
    x, y = layers.camera.frame_x, layers.camera.frame_y
    across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    wobble = 0.012 * field(_PAPER_SEED, 9, x.shape)
    phase = (across + 0.55 * _form(layers) + wobble) * np.float32(2 * np.pi / period)
    return 0.5 + 0.5 * np.sin(phase)


def _hatching(picture: np.ndarray, layers: Layers) -> np.ndarray:
    """Pencil: smooth tone below, strokes where it darkens, crossed where it is dark."""
    smooth = _blur(picture, 0.012, layers)
    picture = 0.45 * picture + 0.55 * smooth
    tone = luminance(smooth)
    first = smoothstep(0.80, 0.48, tone) * _hatch(layers, 0.75, 0.085)
    second = smoothstep(0.55, 0.30, tone) * _hatch(layers, 2.2, 0.085)
    skin = 1 - 0.75 * _blur(layers.masks["hair"], 0.01, layers)  # hair has strands of its own
    strokes = skin * (0.145 * first + 0.08 * second)
    lift = skin * (0.05 * smoothstep(0.80, 0.48, tone) + 0.03 * smoothstep(0.55, 0.30, tone))
    grain = 0.010 * field(_PAPER_SEED + 1, 40, tone.shape)
    return picture + palette.spread(lift + grain - strokes)


def _flow(layers: Layers, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit direction along the picture's edges, smoothed over strokes, float32 [H, W] each."""
    tone = _blur(luminance(picture), 0.012, layers)
    gx = cv2.Sobel(tone, cv2.CV_32F, 1, 0)
    gy = cv2.Sobel(tone, cv2.CV_32F, 0, 1)
    xx, yy, xy = (_blur(p, 0.045, layers) for p in (gx * gx, gy * gy, gx * gy))
    # where there is no edge, strokes lean to one side, as a right-handed painter's do
    weak = 3e-3
    angle = 0.5 * np.arctan2(2 * xy - weak, xx - yy) + np.pi / 2
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _along(image: np.ndarray, flow: tuple[np.ndarray, np.ndarray], reach: float) -> np.ndarray:
    """Averages along the flow over +-reach pixels, in 9 samples on each side."""
    height, width = image.shape[:2]
    grid_x, grid_y = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    total = image.copy()
    step = np.float32(reach / 5)
    for sign in (-1, 1):
        x, y = grid_x, grid_y
        for _ in range(5):
            dx = cv2.remap(flow[0], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            dy = cv2.remap(flow[1], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            x, y = x + sign * step * dx, y + sign * step * dy
            total += cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return total / 11


def _bristles(layers: Layers, flow: tuple[np.ndarray, np.ndarray], cells: int) -> np.ndarray:
    """Stroke texture along the flow, roughly in [-1, 1], float32 [H, W]."""
    shape = layers.camera.x.shape
    texture = _along(field(_PAPER_SEED + 2, cells, shape), flow, 0.075 / layers.camera.pixel)
    return np.clip(2.0 * texture, -1, 1)


def _strokes(picture: np.ndarray, layers: Layers) -> np.ndarray:
    """Oil: colours dragged along the form, with the relief of the brush and a hint of canvas."""
    flow = _flow(layers, picture)
    paint = _along(_blur(picture, 0.007, layers), flow, 0.065 / layers.camera.pixel)
    edges = 0.30 + 0.40 * np.maximum(layers.masks["eyes"], layers.masks["lips"])
    paint = paint + (picture - paint) * palette.spread(edges.astype(np.float32))
    bristles = _bristles(layers, flow, 44)
    relief = cv2.Sobel(bristles, cv2.CV_32F, 1, 1, ksize=3)
    tone = luminance(paint)
    change = (0.070 * bristles + 0.05 * np.clip(relief, -1, 1)) * (1.1 - 0.6 * tone)
    return paint * palette.spread(1 + 1.2 * change)


def _chalk(picture: np.ndarray, layers: Layers) -> np.ndarray:
    """Soft sticks rubbed over rough paper: broad strokes, paper showing through."""
    flow = _flow(layers, picture)
    smooth = _along(_blur(picture, 0.012, layers), flow, 0.05 / layers.camera.pixel)
    picture = 0.35 * picture + 0.65 * smooth
    grain = _bristles(layers, flow, 52)
    paper = np.array([0.86, 0.83, 0.78], np.float32)
    out = picture.copy()
    palette.mix(out, paper, 0.13 * smoothstep(-0.2, 0.9, grain))
    return out * palette.spread(1 - 0.06 * smoothstep(-0.05, -0.8, grain))


def _washes(picture: np.ndarray, layers: Layers) -> np.ndarray:
    """Watercolour: flat washes with dark rims, pooling pigment, white paper at the border."""
    smooth = picture
    for _ in range(2):
        smooth = cv2.bilateralFilter(smooth, 0, 0.13, 0.022 / layers.camera.pixel)
    rims = np.clip(_blur(luminance(smooth), 0.022, layers) - luminance(smooth), -0.1, 0.1)
    pooling = field(_PAPER_SEED + 3, 7, rims.shape) + 0.6 * field(_PAPER_SEED + 4, 17, rims.shape)
    out = smooth * palette.spread(1 - 0.9 * np.clip(rims, 0, 1) + 0.07 * pooling)
    x, y = layers.camera.frame_x, layers.camera.frame_y
    ragged = np.maximum(np.abs(x), np.abs(y)) + 0.06 * pooling
    palette.mix(out, np.array([0.97, 0.96, 0.93], np.float32), smoothstep(0.88, 0.96, ragged))
    return out


def _smooth(picture: np.ndarray, layers: Layers) -> np.ndarray:
    return picture


def _outline(layers: Layers, width: float) -> np.ndarray:
    """Lines around parts and along features, in [0, 1], float32 [H, W]; width in frame units."""
    lines = np.zeros_like(layers.camera.x)
    for name in ("face", "hair", "clothes", "skin", "extras", "background"):
        soft = _blur(layers.masks[name], width * 0.5, layers)
        lines = np.maximum(lines, smoothstep(0.45, 0.9, 4 * soft * (1 - soft)))
    tone = luminance(display(layers.flat))
    dip = _blur(tone, width * 1.3, layers) - _blur(tone, width * 0.45, layers)
    lines = np.maximum(lines, smoothstep(0.028, 0.075, dip))
    shade = luminance(display(layers.light))
    fold = _blur(shade, width * 1.6, layers) - _blur(shade, width * 0.5, layers)
    inside = layers.masks["face"]
    return np.maximum(lines, 0.8 * inside * smoothstep(0.035, 0.08, fold))


def _drawn(width: float, colour: tuple[float, float, float], strength: float) -> Callable:
    def draw(picture: np.ndarray, layers: Layers) -> np.ndarray:
        out = picture.copy()
        palette.mix(out, np.asarray(colour, np.float32), strength * _outline(layers, width))
        return out

    return draw


def _no_lines(picture: np.ndarray, layers: Layers) -> np.ndarray:
    return picture


MEDIA: Final[dict[str, Callable[[np.ndarray, Layers], np.ndarray]]] = {
    "smooth": _smooth,
    "hatching": _hatching,
    "strokes": _strokes,
    "chalk": _chalk,
    "washes": _washes,
}
LINES: Final[dict[str, Callable[[np.ndarray, Layers], np.ndarray]]] = {
    "none": _no_lines,
    "pencil": _drawn(0.030, (0.17, 0.165, 0.175), 0.72),
    "fine": _drawn(0.022, (0.24, 0.20, 0.22), 0.55),
    "ink": _drawn(0.030, (0.07, 0.06, 0.09), 0.95),
}
