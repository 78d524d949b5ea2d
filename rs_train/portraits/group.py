"""Whole photos with people in them: rendered heads, cut out and set before another background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rs_train.portraits.body import paint_background
from rs_train.portraits.canvas import SUPERSAMPLE
from rs_train.portraits.geometry import make_camera
from rs_train.portraits.renderer import landmarks, render
from rs_train.portraits.scene import Scene
from rs_train.portraits.stylise import develop

FACE_POINTS = 5  # the first of `LANDMARK_NAMES`: eyes, nose tip, mouth corners
_BODY = 3  # how often a cut-out's height is added below it
_SOFTEN = 0.7  # pixels by which the edge of a mask is blurred


@dataclass(frozen=True)
class CutOut:
    """A person without background.

    Attributes:
        layer: uint8 [S, S, 4]: sRGB times coverage, and coverage.
        points: float32 [5, 2], (x, y): eyes, nose tip, mouth corners; left is the picture's.
        face: bool [S, S], where the bare face is.
    """

    layer: np.ndarray
    points: np.ndarray
    face: np.ndarray


def cut_out(scene: Scene, size: int, domain: str = "photo") -> CutOut:
    """Renders a scene and cuts the person out."""
    picture = render(scene, size, domain)
    points = landmarks(scene, size)[:FACE_POINTS]
    return make_cut_out(picture.image, picture.masks["background"], picture.masks["face"], points)


def make_cut_out(
    image: np.ndarray, background: np.ndarray, face: np.ndarray, points: np.ndarray
) -> CutOut:
    """Cuts a person out of uint8 [S, S, 3] by bool masks [S, S]; points are float32 [5, 2]."""
    blurred = cv2.GaussianBlur((~background).astype(np.float32), (0, 0), _SOFTEN)
    alpha = np.clip(2 * blurred - 1, 0, 1)  # inside the edge, whose pixels show the background
    alpha[-1] = alpha[-2]  # the blur mirrors at the bottom, where the body goes on
    layer = np.concatenate([image * alpha[..., None], 255 * alpha[..., None]], axis=2)
    return CutOut(np.rint(layer).astype(np.uint8), points, face)


def place(canvas: np.ndarray, person: CutOut, matrix: np.ndarray) -> np.ndarray:
    """Draws a person over a canvas; the body goes on below the cut-out's bottom edge.

    Args:
        canvas: uint8 [H, W, 3], drawn into.
        person: Who.
        matrix: Affine map [2, 3] from the cut-out's pixels to the canvas's.

    Returns:
        The face points on the canvas, float32 [5, 2].
    """
    side = len(person.layer)
    size = int(np.clip(round(side * float(np.hypot(*matrix[:, 0]))), 1, side))
    layer = cv2.resize(person.layer, (size, size), interpolation=cv2.INTER_AREA)
    layer = cv2.copyMakeBorder(layer, 0, _BODY * size, 0, 0, cv2.BORDER_REPLICATE)
    scale = side / size
    offset = matrix[:, :2] @ np.full(2, (scale - 1) / 2) + matrix[:, 2]
    shrunk = np.column_stack([matrix[:, :2] * scale, offset])
    over = cv2.warpAffine(layer, shrunk, canvas.shape[1::-1], flags=cv2.INTER_LINEAR)
    below = 255 - over[..., 3:].astype(np.uint16)
    canvas[:] = np.minimum(over[..., :3] + (canvas * below + 127) // 255, 255)
    return (person.points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def backdrop(scene: Scene, size: int) -> np.ndarray:
    """The background of a scene alone, uint8 [size, size, 3]."""
    light = paint_background(scene, make_camera(scene, size * SUPERSAMPLE))
    return np.clip(np.rint(develop(light) * 255), 0, 255).astype(np.uint8)


def read_masks(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The masks "background" and "face" of a picture of a folder rendered with --masks."""
    with np.load(Path(folder) / "masks" / f"{Path(name).stem}.npz") as masks:
        return masks["background"], masks["face"]
