"""Light: a warm or cool key with soft edge, a sky-like fill, a rim, and highlights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rs_train.portraits.scene import Scene

Normal = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Lights:
    """Directions point to the light (x right, y down, z to the viewer); colours linear [3]."""

    key: np.ndarray
    half: np.ndarray
    key_colour: np.ndarray
    fill_colour: np.ndarray
    rim_colour: np.ndarray
    rim_side: float


def make_lights(scene: Scene) -> Lights:
    """The lights of a scene."""
    azimuth, height = 1.05 * scene["light_azimuth"], 0.95 * scene["light_height"]
    key = np.array(
        [np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)]
    )
    half = key + np.array([0.0, 0.0, 1.0])
    warm = scene["light_warmth"]
    key_colour = np.array([1.0 + 0.10 * warm, 1.0, 1.0 - 0.16 * warm])
    fill_colour = np.array([0.94 - 0.08 * warm, 0.98, 1.06 + 0.08 * warm])
    return Lights(
        key=key.astype(np.float32),
        half=(half / np.linalg.norm(half)).astype(np.float32),
        key_colour=(0.84 * key_colour).astype(np.float32),
        fill_colour=(0.75 * scene["fill"] * fill_colour).astype(np.float32),
        rim_colour=(0.55 * scene["rim"] * (2.2 - key_colour)).astype(np.float32),
        rim_side=-1.0 if azimuth > 0 else 1.0,
    )


def dot(normal: Normal, direction: np.ndarray) -> np.ndarray:
    """Scalar product of a normal field with a direction."""
    return normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]


def irradiance(
    lights: Lights,
    normal: Normal,
    occlusion: np.ndarray | float,
    wrap: float = 0.25,
    bleed: float = 0.0,
) -> np.ndarray:
    """Light arriving at a surface, float32 [H, W, 3].

    Args:
        lights: of the scene.
        normal: unit normals.
        occlusion: 1 where open, 0 where fully hidden.
        wrap: softness of the shadow's edge.
        bleed: how far red light reaches into the shadow, as in skin.
    """
    facing = dot(normal, lights.key)
    out = np.empty((*facing.shape, 3), np.float32)
    sky = (0.72 - 0.28 * normal[1]) * occlusion
    rim = np.clip(normal[0] * np.float32(lights.rim_side) - 0.45, 0, 1) ** 2 * 2.2
    for k in range(3):
        w = np.float32(wrap + (bleed if k == 0 else 0))
        diffuse = np.clip((facing + w) / (1 + w), 0, 1)
        out[..., k] = (
            diffuse * (lights.key_colour[k] * occlusion)
            + sky * lights.fill_colour[k]
            + rim * lights.rim_colour[k]
        )
    return out


def highlight(lights: Lights, normal: Normal, power: float) -> np.ndarray:
    """Blinn-Phong highlight of the key light, in [0, 1]."""
    return np.clip(dot(normal, lights.half), 0, 1) ** np.float32(power)


def strand_highlight(lights: Lights, normal: Normal, power: float) -> np.ndarray:
    """Kajiya-Kay highlight of strands that run down the surface, in [0, 1]."""
    nh = dot(normal, lights.half)
    along = (lights.half[1] - normal[1] * nh) / np.sqrt(1 - normal[1] * normal[1] + 1e-4)
    return np.clip(1 - along * along, 0, 1) ** np.float32(power) * np.clip(nh, 0, 1)
