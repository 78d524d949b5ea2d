"""Hair: a shell around the head with an opening for the face, and a mass behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.geometry import (
    Camera,
    Surface,
    cover,
    head_profile,
    intersect,
    look_up,
    normals,
    profile_rows,
    smoothstep,
)
from rs_train.portraits.noise import field, strands
from rs_train.portraits.scene import Scene


@dataclass(frozen=True)
class HairLayer:
    """Coverage and what shading needs, float32 [S, S] each but albedo [S, S, 3]."""

    alpha: np.ndarray
    albedo: np.ndarray
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]
    gloss: np.ndarray


def _volume(scene: Scene) -> float:
    base = {
        "short": 0.030, "side part": 0.045, "fringe": 0.06, "bob": 0.07,
        "long": 0.065, "curly": 0.12, "bun": 0.035,
    }[scene.hair]  # fmt: skip
    return base + 0.055 * scene["hair_volume"]


def _end(scene: Scene) -> float:
    """Height at which loose hair ends."""
    if scene.hair == "bob":
        return 0.55 + 0.22 * scene["hair_length"]
    if scene.hair == "curly":
        return 0.10 + 0.62 * scene["hair_length"] * (1 - 0.7 * scene["masculine"])
    if scene.hair == "long":
        return 1.05 + 0.4 * scene["hair_length"]
    if scene.hair == "fringe":
        return 0.12 + 0.75 * scene["hair_length"] * (scene["masculine"] < 0.5)
    return 0.10


def _profile(scene: Scene) -> np.ndarray:
    """Half width of the hair's shell over the heights."""
    volume = _volume(scene)
    y = profile_rows()
    head = head_profile(scene, volume)
    end = _end(scene)
    widest = scene["face_width"] + volume
    flare = 0.05 if scene.hair == "bob" else 0.02 + 0.10 * scene["hair_wave"]
    if end < 0.2:  # short: the shell hugs the head and thins out towards the ears
        skull = head_profile(scene)
        near = skull + (head - skull) * (1 - smoothstep(-0.42, 0.02, y))
        return near.astype(np.float32)
    loose = widest + flare * smoothstep(-0.1, end, y) * (1 if scene.hair != "curly" else 2)
    tail = 0.12 if scene.hair != "curly" else 0.35
    loose = loose * np.clip((end - y) / tail, 0, 1) ** 0.5
    return np.where(y < -0.14, head, loose).astype(np.float32)


def _lumps(scene: Scene, shape: tuple[int, int]) -> np.ndarray:
    return field(scene.noise_seed, 17, shape)


def front_layer(scene: Scene, camera: Camera, head: Surface) -> HairLayer | None:
    """The hair over the head and beside the face; None for a bald head."""
    if scene.hair == "bald":
        return None
    profile = _profile(scene)
    shell = intersect(camera, profile, 1.12)
    inside = shell.inside
    curly = scene.hair == "curly"
    lumps = _lumps(scene, camera.x.shape) if curly else None
    if lumps is not None:
        inside = inside + 0.045 * lumps
    width = scene["face_width"] + 0.6 * _volume(scene)
    q = np.clip(np.abs(shell.u) / width, 0, 1.3)
    part = scene["hair_part"] * 0.45
    grain_at = (shell.u - part) / (shell.half_width + 0.05)
    wave = 0.05 * scene["hair_wave"] * np.sin(9 * shell.v + 3 * grain_at)
    grain = strands(scene.noise_seed + 1, grain_at + wave, 24)
    fine = strands(scene.noise_seed + 2, grain_at + 1.5 * wave, 60)
    texture = 0.62 * grain + 0.38 * fine
    opening = _opening(scene, shell, q, part, texture)
    if lumps is not None:
        opening = opening + 0.05 * lumps
    # a turned head shows no gap between the cheek and the hair behind it
    neck = np.minimum(0.78 * scene["face_width"] - np.abs(camera.x), camera.y)
    bare = np.maximum(head.inside, neck)
    opening = np.minimum(opening, bare + 0.01)
    face_side = smoothstep(-0.05, 0.05, shell.z)
    alpha = cover(inside, camera.pixel, 1.4) * (1 - face_side * cover(opening, camera.pixel, 3.0))
    closed = smoothstep(0.84, 0.90, shell.half_width / scene["face_width"])
    alpha *= np.maximum(closed, camera.y < -0.14)  # rays are unstable where the shell closes
    if _end(scene) < 0.2:
        alpha *= cover(0.04 - shell.v - 0.03 * texture, camera.pixel, 4.0)
    depth = shell.depth + 0.010 * texture + (0.035 * lumps if lumps is not None else 0)
    normal = normals(depth.astype(np.float32), camera.pixel)
    albedo = palette.tint(palette.hair(scene), 1.0 + 0.34 * texture)
    if lumps is not None:
        albedo *= palette.spread(1 + 0.35 * lumps)
    return HairLayer(alpha, np.maximum(albedo, 0), normal, 0.55 + 0.45 * texture)


def _opening(
    scene: Scene, shell: object, q: np.ndarray, part: float, texture: np.ndarray
) -> np.ndarray:
    """Signed distance, > 0 where the face shows through the shell."""
    u, v = shell.u, shell.v
    q4 = (q * q) ** 2
    if scene.hair == "fringe":
        line = -0.235 + 0.05 * scene["hair_part"] * u + 0.10 * q * q + 0.016 * texture
    elif scene.hair in ("side part", "bob", "long"):
        side = np.sign(scene["hair_part"] + 1e-6)
        away = np.clip((u - part) * -side, -0.2, 1.2)
        line = -0.585 + 0.26 * np.abs(away) ** 1.2 + 0.08 * (away < 0) * np.abs(away) + 0.2 * q4
    else:
        line = (
            -0.53
            + 0.10 * scene["hair_part"] * u
            + 0.20 * q4
            - 0.10 * scene["masculine"] * (np.exp(-(((q - 0.55) / 0.2) ** 2)))
        )
    inner = {"bob": 0.80, "long": 0.80, "fringe": 0.86, "curly": 0.86}.get(scene.hair, 0.88)
    reach = 3.0 if _end(scene) > 0.3 else 0.62
    curtain = reach * smoothstep(inner, inner + 0.13, q)
    return v - line - curtain + 0.008 * texture


def back_layer(scene: Scene, camera: Camera) -> HairLayer | None:
    """The mass of hair behind neck and head, and a bun on top."""
    if scene.hair == "bald":
        return None
    profile = _profile(scene)
    half = look_up(profile, camera.y)
    x = camera.x + np.float32(0.25 * camera.sin_yaw)
    inside = half - np.abs(x)
    if scene.hair == "curly":
        inside = inside + 0.05 * _lumps(scene, camera.x.shape)
    across = x / (half + 0.05)
    depth = 0.35 * np.sqrt(np.clip(1 - across * across, 0, 1))
    texture = strands(scene.noise_seed + 3, across + 0.03 * np.sin(7 * camera.y), 26)
    albedo = palette.tint(palette.hair(scene), 0.50 + 0.16 * texture)
    alpha = cover(inside, camera.pixel, 1.5) * (half > 0.01)
    if _end(scene) < 0.2:
        alpha *= smoothstep(0.10, 0.0, camera.y)
    if scene.hair == "bun":
        r = 0.20 + 0.05 * scene["hair_volume"]
        bx = x - 0.12 * scene["hair_part"] + 0.2 * camera.sin_yaw
        by = camera.y + 0.93 - 0.3 * camera.sin_pitch
        square = 1 - (bx * bx + 1.25 * by * by) / (r * r)
        ball = np.sqrt(np.clip(square, 0, 1)) * r
        is_bun = cover(square * r * 0.5, camera.pixel, 1.5)
        swirl = strands(scene.noise_seed + 4, (by * 0.9 + 0.5 * bx * bx) / r, 9)
        depth = np.where(square > 0, ball, depth)
        palette.mix(albedo, palette.tint(palette.hair(scene), 0.95 + 0.3 * swirl), is_bun)
        alpha = np.maximum(alpha, is_bun)
    normal = normals(depth.astype(np.float32), camera.pixel)
    return HairLayer(alpha, np.maximum(albedo, 0), normal, 0.4 + 0.3 * texture)
