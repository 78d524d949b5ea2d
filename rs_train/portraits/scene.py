"""What is in a picture: the parameters of one portrait and how they are drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

HAIR_STYLES: Final = ("bald", "short", "side part", "fringe", "bob", "long", "curly", "bun")
BEARD_STYLES: Final = ("none", "stubble", "moustache", "goatee", "full")
CLOTHES: Final = ("crew", "v-neck", "collar", "turtleneck")
BACKGROUNDS: Final = ("gradient", "bokeh", "wall")
EXTRAS: Final = ("hat", "face paint", "hand", "headphones", "microphone", "mask", "flower")

# name -> (low, high). Every continuous parameter of a scene; the order fixes `parameters(scene)`.
RANGES: Final[dict[str, tuple[float, float]]] = {
    # identity: fixed for a person
    "face_width": (0.53, 0.61),
    "face_length": (0.74, 0.84),
    "jaw_power": (2.1, 2.9),
    "jaw_square": (1.4, 2.15),
    "eye_distance": (0.225, 0.275),
    "eye_size": (0.104, 0.132),
    "eye_open": (0.46, 0.68),
    "eye_tilt": (-0.10, 0.18),
    "nose_length": (0.24, 0.31),
    "nose_width": (0.055, 0.09),
    "nose_height": (0.08, 0.15),
    "mouth_height": (0.415, 0.465),
    "mouth_width": (0.16, 0.22),
    "upper_lip": (0.034, 0.066),
    "lower_lip": (0.048, 0.086),
    "brow_height": (0.135, 0.185),
    "brow_thickness": (0.018, 0.036),
    "brow_arch": (0.0, 0.055),
    "cheeks": (0.0, 1.0),
    "skin": (0.0, 1.0),
    "skin_warmth": (-1.0, 1.0),
    "lip_red": (0.0, 1.0),
    "blush": (0.0, 1.0),
    "freckles": (0.0, 1.0),
    "eye_hue": (0.0, 1.0),
    "hair_tone": (0.0, 1.0),
    "masculine": (0.0, 1.0),
    # picture: pose, expression, hair, light, background
    "yaw": (-0.42, 0.42),
    "pitch": (-0.20, 0.20),
    "roll": (-0.12, 0.12),
    "smile": (-0.2, 1.0),
    "mouth_open": (0.0, 1.0),
    "brow_raise": (-0.4, 1.0),
    "eyes_closed": (0.0, 1.0),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-0.5, 0.5),
    "hair_volume": (0.0, 1.0),
    "hair_length": (0.0, 1.0),
    "hair_wave": (0.0, 1.0),
    "hair_part": (-0.6, 0.6),
    "glasses_size": (0.0, 1.0),
    "glasses_round": (0.0, 1.0),
    "light_azimuth": (-1.0, 1.0),
    "light_height": (0.15, 0.85),
    "light_warmth": (-1.0, 1.0),
    "fill": (0.25, 0.6),
    "rim": (0.0, 1.0),
    "background_hue": (0.0, 1.0),
    "background_saturation": (0.08, 0.55),
    "background_value": (0.25, 0.9),
    "clothes_hue": (0.0, 1.0),
    "clothes_saturation": (0.1, 0.75),
    "clothes_value": (0.15, 0.85),
    "shoulders": (0.0, 1.0),
}
PARAMETER_NAMES: Final[tuple[str, ...]] = tuple(RANGES)
IDENTITY_NAMES: Final[tuple[str, ...]] = PARAMETER_NAMES[: PARAMETER_NAMES.index("yaw")]


@dataclass(frozen=True)
class Scene:
    """One portrait. `values` holds every continuous parameter in its natural range."""

    seed: int
    index: int
    identity: int
    values: dict[str, float]
    hair: str
    beard: str
    glasses: bool
    clothes: str
    background: str
    extras: tuple[str, ...]
    noise_seed: int

    def __getitem__(self, name: str) -> float:
        return self.values[name]


def sample_scene(
    seed: int, index: int, *, extras: bool = False, identity: int | None = None
) -> Scene:
    """Draws the scene number `index` of the world `seed`.

    A scene depends on (seed, index, identity) alone, so it is the same in every domain, at every
    size and in any order. `extras=True` adds one or two out-of-domain things and changes
    nothing else.

    Args:
        seed: of the world, at least 0.
        index: of the picture, at least 0.
        extras: add one or two of `EXTRAS`.
        identity: the person; None draws one from (seed, index). Pictures that share it share
            every parameter in `IDENTITY_NAMES`.
    """
    if identity is None:
        identity = int(np.random.default_rng([seed, index, 11]).integers(1 << 31))
    values = _identity_values(identity)
    rng = np.random.default_rng([seed, index, 23])
    for name in PARAMETER_NAMES[len(IDENTITY_NAMES) :]:
        low, high = RANGES[name]
        values[name] = float(rng.uniform(low, high))
    for name, spread in (("yaw", 0.17), ("pitch", 0.08), ("roll", 0.045)):
        low, high = RANGES[name]
        values[name] = float(np.clip(rng.normal(0, spread), low, high))
    low, high = RANGES["smile"]
    values["smile"] = low + (high - low) * ((values["smile"] - low) / (high - low)) ** 0.7
    values["mouth_open"] = float(rng.beta(1, 2.2) if rng.random() < 0.45 else 0.0)
    values["eyes_closed"] = float(rng.beta(1, 8) if rng.random() < 0.94 else 1.0)
    values["rim"] = float(max(0.0, rng.uniform(-0.8, 1.0)))
    values["gaze_x"] = float(np.clip(rng.normal(0, 0.35), -1, 1))
    values["gaze_y"] = float(np.clip(rng.normal(0, 0.2), -0.5, 0.5))
    masculine = values["masculine"]
    female = np.array([0.01, 0.10, 0.12, 0.14, 0.20, 0.23, 0.11, 0.09])
    male = np.array([0.12, 0.33, 0.27, 0.10, 0.02, 0.04, 0.11, 0.01])
    odds = masculine * male + (1 - masculine) * female
    hair = HAIR_STYLES[int(rng.choice(len(HAIR_STYLES), p=odds / odds.sum()))]
    bearded = rng.random() < 0.65 * max(0.0, masculine - 0.45) / 0.55
    beard = BEARD_STYLES[int(rng.integers(1, len(BEARD_STYLES)))] if bearded else "none"
    return Scene(
        seed=seed,
        index=index,
        identity=identity,
        values=values,
        hair=hair,
        beard=beard,
        glasses=bool(rng.random() < 0.22),
        clothes=CLOTHES[int(rng.integers(len(CLOTHES)))],
        background=BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))],
        extras=_draw_extras(seed, index) if extras else (),
        noise_seed=int(rng.integers(1 << 31)),
    )


def _identity_values(identity: int) -> dict[str, float]:
    rng = np.random.default_rng([identity, 7])
    values = {}
    for name in IDENTITY_NAMES:
        low, high = RANGES[name]
        values[name] = float(low + (high - low) * rng.beta(1.6, 1.6))
    for name in ("skin", "eye_hue", "hair_tone", "masculine"):
        values[name] = float(rng.random())
    values["skin"] **= 1.35
    values["freckles"] = float(max(0.0, rng.uniform(-2.0, 1.0)) * (1 - values["skin"]))
    # dark skin goes with dark eyes and hair most of the time, as in people
    if values["skin"] > 0.45 and rng.random() < 0.85:
        values["hair_tone"] *= 0.3
        values["eye_hue"] *= 0.35
    shift = values["masculine"] - 0.5
    for name, amount in (("jaw_square", 0.35), ("brow_thickness", 0.3), ("nose_width", 0.2)):
        low, high = RANGES[name]
        values[name] = float(np.clip(values[name] + shift * amount * (high - low), low, high))
    return values


def _draw_extras(seed: int, index: int) -> tuple[str, ...]:
    rng = np.random.default_rng([seed, index, 41])
    chosen = rng.choice(len(EXTRAS), size=1 + int(rng.random() < 0.35), replace=False)
    return tuple(EXTRAS[i] for i in sorted(chosen))


def parameters(scene: Scene) -> np.ndarray:
    """The continuous parameters, normalised to [0, 1].

    Returns:
        float32 [len(PARAMETER_NAMES)], in the order of `PARAMETER_NAMES`.
    """
    out = [(scene[name] - low) / (high - low) for name, (low, high) in RANGES.items()]
    return np.asarray(out, np.float32)
