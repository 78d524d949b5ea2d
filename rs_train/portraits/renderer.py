"""A scene in, a picture and its truth out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from rs_train.portraits import alien, face
from rs_train.portraits.compose import HEAD_DEPTH, compose
from rs_train.portraits.domains import DOMAINS, domain_style
from rs_train.portraits.geometry import EYE_LINE, make_camera
from rs_train.portraits.scene import Scene
from rs_train.portraits.stylise import develop, stylise

LANDMARK_NAMES: Final = (
    "left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner", "chin",
)  # fmt: skip


@dataclass(frozen=True)
class Rendering:
    """A portrait and its truth.

    Attributes:
        image: uint8 [S, S, 3], sRGB.
        masks: bool [S, S] by name (`MASK_NAMES`): where that part is in front. `face`, `eyes` and
            `lips` are parts of `skin`; the others exclude each other.
        landmarks: float32 [6, 2], (x, y) in pixels, in the order of `LANDMARK_NAMES`; left and
            right are the picture's.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray]
    landmarks: np.ndarray


def render(scene: Scene, size: int, domain: str = "photo") -> Rendering:
    """Renders a scene in a domain. Masks and landmarks are the same in every domain of persons.

    Args:
        scene: from `sample_scene`.
        size: of the square picture, 32 to 1024.
        domain: a name that `domain_style` knows.

    Raises:
        UsageError: there is no such domain.
    """
    style = domain_style(domain)
    scene = drawn(scene, domain)
    is_photo = replace(style, being="person") == DOMAINS["photo"]
    layers = compose(scene, size, with_flat=not is_photo)
    if style.being == "alien":
        alien.recolour(scene, layers)
    image = develop(layers.light) if is_photo else stylise(style, scene, layers)
    masks = {}
    for name, mask in layers.masks.items():
        masks[name] = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA) > 0.5
    pixels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return Rendering(pixels, masks, landmarks(scene, size))


def drawn(scene: Scene, domain: str) -> Scene:
    """The scene as a domain draws it: with the person, or with an alien."""
    return alien.as_alien(scene) if domain_style(domain).being == "alien" else scene


def landmarks(scene: Scene, size: int) -> np.ndarray:
    """The points `LANDMARK_NAMES` in pixels of a [size, size] picture, float32 [6, 2]."""
    camera = make_camera(scene, 1)
    width, depth = scene["face_width"], HEAD_DEPTH * scene["face_width"]

    def on_head(u: float, v: float, lift: float = 0.0) -> tuple[float, float]:
        z = depth * float(np.sqrt(max(0.0, 1 - (u / width) ** 2))) + lift
        return camera.project(u, v, z)

    eye, half = scene["eye_distance"], face.mouth_half_width(scene)
    corner = float(face.mouth_line(scene, half))
    points = [
        on_head(-eye, EYE_LINE),
        on_head(eye, EYE_LINE),
        on_head(0.0, face.nose_tip(scene), scene["nose_height"]),
        on_head(-half, corner),
        on_head(half, corner),
        on_head(0.0, scene["face_length"] - 0.08),
    ]
    return ((np.asarray(points, np.float32) + 1) * (size / 2) - 0.5).astype(np.float32)
