"""Glasses: rims around the eyes, bridge, temples, tint and glint."""

from __future__ import annotations

import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.geometry import EYE_LINE, Camera, Surface, cover
from rs_train.portraits.scene import Scene
from rs_train.portraits.shading import Lights

_FRAMES = (
    (0.07, 0.5, 0.10),
    (0.0, 0.0, 0.05),
    (0.6, 0.5, 0.25),
    (0.0, 0.75, 0.40),
    (0.11, 0.5, 0.7),
)


def paint_glasses(
    scene: Scene,
    camera: Camera,
    head: Surface,
    lights: Lights,
    image: np.ndarray,
) -> np.ndarray:
    """Paints glasses over a picture in place; returns the rim's coverage, float32 [H, W]."""
    # the frame stands in front of the face, so it moves a little further with yaw
    u = head.u - np.float32(0.035 * camera.sin_yaw)
    v = head.v - EYE_LINE - 0.012
    on_face = cover(head.inside, camera.pixel) * (head.z > 0)
    wide = 0.165 + 0.035 * scene["glasses_size"]
    high = 0.115 + 0.045 * scene["glasses_size"]
    corner = high * (0.35 + 0.65 * scene["glasses_round"])
    ax = np.abs(u) - (scene["eye_distance"] + 0.008)
    dx, dy = np.abs(ax) - (wide - corner), np.abs(v) - (high - corner)
    outside = np.sqrt(np.clip(dx, 0, None) ** 2 + np.clip(dy, 0, None) ** 2)
    distance = corner - outside - np.minimum(np.maximum(dx, dy), 0)
    thick = 0.011 + 0.011 * ((scene.noise_seed >> 4) % 3) / 2
    rim = cover(thick - np.abs(distance), camera.pixel, 1.5)
    gap = scene["eye_distance"] + 0.008 - wide
    bridge = np.minimum(thick * 0.9 - np.abs(v + 0.035 - 0.5 * u * u), gap + 0.01 - np.abs(u))
    arm = np.minimum(thick * 0.9 - np.abs(v + 0.03), ax - wide)
    rim = np.maximum(rim, cover(np.maximum(bridge, arm), camera.pixel, 1.5)) * on_face
    lens = cover(distance, camera.pixel) * on_face
    shadow = np.exp(-(((distance + 0.03) / 0.03) ** 2)) * on_face * (v > 0)
    image *= palette.spread(1 - 0.22 * shadow)
    palette.mix(image, 0.75 * lights.key_colour, 0.02 * lens)
    glint = np.exp(-(((ax * 0.8 + v + 0.03) / 0.035) ** 2)) * (v < 0.03)
    palette.mix(image, lights.key_colour, 0.13 * lens * glint)
    hue, sat, val = _FRAMES[(scene.noise_seed >> 8) % len(_FRAMES)]
    colour = palette.hsv(hue, sat, val)
    shine = np.exp(-(((distance - thick * 0.3) / (thick * 0.5)) ** 2)) * (v < 0)
    palette.mix(image, palette.tint(colour, np.ones_like(u)) + palette.spread(0.25 * shine), rim)
    return rim
