"""A domain that is unlike portraits in shape: the same scenes, with an alien in the person's place.

Looks leave a head its shape. This one does not: wide skulls, narrow chins, slanted black eyes,
hardly a nose, no hair. Pose, light, background and clothes stay the scene's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.canvas import Layers
from rs_train.portraits.scene import Scene

# Factors of a person's own values, and values that all aliens share.
_FACTORS: Final = {
    "face_width": 1.08, "eye_size": 1.5, "eye_distance": 1.12, "nose_width": 0.5,
    "mouth_width": 0.55,
}  # fmt: skip
_SHARED: Final = {
    "jaw_power": 1.55, "jaw_square": 1.0, "eye_open": 0.85, "eye_tilt": 0.5, "eyes_closed": 0.0,
    "nose_height": 0.02, "upper_lip": 0.02, "lower_lip": 0.025, "mouth_open": 0.0,
    "brow_thickness": 0.0005, "brow_height": 0.3, "cheeks": 0.1, "freckles": 0.0, "blush": 0.0,
    "lip_red": 0.0, "shoulders": 0.0,
}  # fmt: skip
_GREEN, _BLUE = (np.asarray(c, np.float32) for c in ((0.39, 1.27, 0.50), (0.60, 0.94, 1.38)))
_EYES_LEFT: Final = 0.07  # of the light of an eye


def as_alien(scene: Scene) -> Scene:
    """The scene with the person's shape changed; some of the person's differences remain."""
    values = {name: value * _FACTORS.get(name, 1.0) for name, value in scene.values.items()}
    values["face_length"] = 0.66 + 0.3 * (scene["face_length"] - 0.74)
    return replace(
        scene, values=values | _SHARED, hair="bald", beard="none", glasses=False, extras=()
    )


def recolour(scene: Scene, layers: Layers) -> None:
    """Turn skin green or blue, by the warmth of the person's, and eyes black, in place."""
    bluish = 0.5 + 0.5 * scene["skin_warmth"]
    tone = (1 - bluish) * _GREEN + bluish * _BLUE
    gleam = np.clip(layers.light - 0.55, 0, 1)
    for image in (layers.light,) if layers.flat is layers.light else (layers.light, layers.flat):
        grey = image @ np.asarray((0.3, 0.5, 0.2), np.float32)
        palette.mix(image, palette.tint(tone, grey), layers.masks["skin"])
        palette.mix(image, _EYES_LEFT * image + 0.6 * gleam, layers.masks["eyes"])
