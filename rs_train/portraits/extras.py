"""Out-of-domain things: hats, face paint, hands, headphones, microphones, masks, flowers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rs_train.portraits import palette, shading
from rs_train.portraits.canvas import Canvas
from rs_train.portraits.geometry import (
    EYE_LINE,
    Camera,
    Surface,
    bump,
    cover,
    head_profile,
    intersect,
    normals,
    smoothstep,
)
from rs_train.portraits.noise import strands
from rs_train.portraits.scene import EXTRAS, Scene


@dataclass(frozen=True)
class _Solid:
    """A thing with its own relief, float32 [S, S] each but albedo [S, S, 3]."""

    alpha: np.ndarray
    height: np.ndarray
    albedo: np.ndarray
    gloss: float = 0.15


def _rng(scene: Scene, name: str) -> np.random.Generator:
    return np.random.default_rng([scene.seed, scene.index, 43, EXTRAS.index(name)])


def _colour(rng: np.random.Generator, value: tuple[float, float] = (0.2, 0.85)) -> np.ndarray:
    return palette.hsv(rng.random(), rng.uniform(0.25, 0.85), rng.uniform(*value))


def _plain(colour: np.ndarray, like: np.ndarray) -> np.ndarray:
    return palette.tint(colour, np.ones_like(like))


def _put(canvas: Canvas, camera: Camera, lights: shading.Lights, solid: _Solid) -> None:
    """Lays a solid over the picture with a soft shadow around it."""
    shadow = cv2.GaussianBlur(solid.alpha, (0, 0), 0.035 / camera.pixel)
    canvas.light *= palette.spread(1 - 0.45 * shadow)
    normal = normals(solid.height.astype(np.float32), camera.pixel)
    colour = solid.albedo * shading.irradiance(lights, normal, 0.95, 0.3)
    shine = solid.gloss * shading.highlight(lights, normal, 18)
    colour += palette.tint(lights.key_colour, shine)
    canvas.put(colour, solid.albedo, solid.alpha, "extras")


def put_in_front(
    scene: Scene, camera: Camera, lights: shading.Lights, head: Surface, canvas: Canvas
) -> None:
    """Draws every extra that lies over face and hair."""
    makers = {
        "hat": _hat,
        "headphones": _headphones,
        "flower": _flower,
        "microphone": _microphone,
        "hand": _hand,
    }
    for name, make in makers.items():
        if name in scene.extras:
            for solid in make(scene, camera, head):
                _put(canvas, camera, lights, solid)


def put_mask(
    scene: Scene, camera: Camera, lights: shading.Lights, head: Surface, canvas: Canvas
) -> None:
    """Draws a cloth mask over nose and mouth."""
    rng = _rng(scene, "mask")
    u, v = head.u, head.v
    top = 0.07 + 0.62 * u * u
    low = scene["face_length"] - 0.05 - 0.5 * u * u
    side = scene["face_width"] * 0.86 - np.abs(u)
    inside = np.minimum(np.minimum(v - top, low - v), side)
    strap = 0.012 - np.abs(np.minimum(np.abs(v - top - 0.04), np.abs(v - low + 0.10)))
    strap = np.minimum(strap, np.abs(u) - scene["face_width"] * 0.8)
    on_head = cover(head.inside, camera.pixel)
    alpha = np.maximum(cover(inside, camera.pixel, 1.5), cover(strap, camera.pixel, 1.5)) * on_head
    pleats = 0.007 * np.sin(v * 46) * smoothstep(0.0, 0.1, inside)
    height = head.depth + 0.13 * bump(u, v - 0.30, 0.26, 0.28) + pleats
    colour = (
        palette.linear((176, 208, 226))
        if rng.random() < 0.4
        else palette.hsv(rng.random(), rng.uniform(0.0, 0.7), rng.uniform(0.15, 0.95))
    )
    _put(canvas, camera, lights, _Solid(alpha, height, _plain(colour, u), 0.04))


def paint_face(scene: Scene, albedo: np.ndarray, head: Surface) -> None:
    """Paints the skin: tiger, clown, hero, two colours, or heavy make-up."""
    rng = _rng(scene, "face paint")
    kind = int(rng.integers(5))
    u, v, au = head.u, head.v, np.abs(head.u)
    first, second = _colour(rng, (0.5, 0.95)), _colour(rng, (0.3, 0.9))
    eye = bump(au - scene["eye_distance"], v - EYE_LINE + 0.02, 0.15, 0.12)
    if kind == 0:
        palette.mix(albedo, palette.linear((240, 140, 40)), np.full_like(u, 0.85))
        muzzle = bump(au - 0.09, v - 0.38, 0.14, 0.12)
        palette.mix(albedo, palette.linear((245, 238, 225)), smoothstep(0.3, 0.6, muzzle))
        wave = np.sin(24 * v + 5 * au) + 1.1 * (au / 0.5) - 0.45
        stripes = smoothstep(0.35, 0.75, wave) * smoothstep(0.16, 0.32, au)
        palette.mix(albedo, palette.linear((30, 22, 20)), 0.92 * stripes)
    elif kind == 1:
        palette.mix(albedo, palette.linear((240, 236, 230)), np.full_like(u, 0.86))
        palette.mix(albedo, first, 0.9 * smoothstep(0.45, 0.6, eye))
        cheeks = bump(au - 0.33, v - 0.2, 0.12, 0.12)
        red = palette.linear((214, 40, 44))
        palette.mix(albedo, red, 0.85 * smoothstep(0.4, 0.6, cheeks))
        mouth = bump(u, v - scene["mouth_height"] - 0.01, 0.30, 0.13)
        palette.mix(albedo, red, 0.9 * smoothstep(0.4, 0.5, mouth))
        nose = bump(u, v - EYE_LINE - scene["nose_length"], 0.10, 0.09)
        palette.mix(albedo, red, smoothstep(0.4, 0.5, nose))
    elif kind == 2:
        band = 0.15 + 0.10 * smoothstep(0.2, 0.5, au) - np.abs(v - EYE_LINE + 0.02 + 0.2 * au * au)
        palette.mix(albedo, first, 0.95 * smoothstep(-0.01, 0.01, band))
        rim = np.exp(-((band / 0.02) ** 2))
        palette.mix(albedo, second, 0.9 * rim)
    elif kind == 3:
        seam = u + 0.03 * np.sin(9 * v)
        palette.mix(albedo, first, 0.88 * smoothstep(-0.01, 0.01, seam))
        palette.mix(albedo, second, 0.88 * smoothstep(0.01, -0.01, seam))
    else:
        lid = smoothstep(0.25, 0.55, eye) * (v < EYE_LINE + 0.02)
        palette.mix(albedo, first, 0.92 * lid)
        liner = np.exp(-(((v - EYE_LINE + 0.3 * (au - scene["eye_distance"])) / 0.018) ** 2))
        wing = liner * smoothstep(0.02, 0.06, au - scene["eye_distance"] - scene["eye_size"] * 0.7)
        palette.mix(albedo, palette.linear((16, 12, 16)), wing * (au < 0.50))
        blush = bump(au - 0.34, v - 0.15, 0.13, 0.09)
        palette.mix(albedo, palette.linear((220, 60, 90)), 0.65 * blush)
        mouth = bump(u, v - scene["mouth_height"] - 0.01, 0.25, 0.085)
        palette.mix(albedo, second, 0.9 * smoothstep(0.4, 0.5, mouth))


def _hat(scene: Scene, camera: Camera, head: Surface) -> list[_Solid]:
    rng = _rng(scene, "hat")
    kind = int(rng.integers(3))  # beanie, brimmed, cap
    lift = 0.085 if scene.hair == "curly" else 0.06
    shell = intersect(camera, head_profile(scene, lift + 0.03 * scene["hair_volume"]), 1.15)
    edge = -0.30 if kind == 0 else -0.36
    line = edge + 0.05 * shell.u * shell.u - 0.05 * shell.z
    alpha = cover(np.minimum(shell.inside, line - shell.v), camera.pixel, 1.5)
    colour = _colour(rng)
    ribs = strands(scene.noise_seed + 21, shell.u / (shell.half_width + 0.05), 22)
    height = shell.depth + (0.006 * ribs if kind == 0 else 0)
    albedo = palette.tint(colour, 1 + (0.10 * ribs if kind == 0 else 0) + 0 * ribs)
    band = smoothstep(-0.01, 0.01, shell.v - line + 0.13)
    if kind == 0:
        height = height + 0.03 * band
        palette.mix(albedo, _colour(rng), 0.85 * band * (rng.random() < 0.5))
        return [_Solid(alpha, height, albedo, 0.03)]
    palette.mix(albedo, _colour(rng), band * (kind == 1))
    crown = _Solid(alpha, height, albedo, 0.06)
    return [crown, _brim(scene, camera, colour * np.float32(0.85), whole=kind == 1)]


def _brim(scene: Scene, camera: Camera, colour: np.ndarray, *, whole: bool) -> _Solid:
    reach = 0.10 if whole else 0.62
    cx, cy = camera.project(0.0, -0.40, reach)
    x, y = camera.frame_x - np.float32(cx), camera.frame_y - np.float32(cy)
    x, y = (
        camera.cos_roll * x + camera.sin_roll * y,
        camera.cos_roll * y - camera.sin_roll * x,
    )
    rx, ry = (0.95, 0.15) if whole else (0.50, 0.17)
    bend = y - (0.14 if whole else -0.16) * (x / rx) ** 2 * -1
    inside = 1 - (x / rx) ** 2 - (bend / ry) ** 2
    distance = np.minimum(inside * ry * 0.5, bend + 0.06)
    height = 0.9 * bend - 0.10 * x * x
    return _Solid(cover(distance, camera.pixel, 1.5), height, _plain(colour, x), 0.08)


def _headphones(scene: Scene, camera: Camera, head: Surface) -> list[_Solid]:
    rng = _rng(scene, "headphones")
    colour, pad = _colour(rng, (0.1, 0.9)), palette.linear((38, 36, 40))
    x, y = camera.x, camera.y
    wide = scene["face_width"] + 0.10
    radius = np.sqrt((x / wide) ** 2 + ((y - 0.02) / 0.98) ** 2)
    across = (radius - 1) * wide / 0.042
    band = np.minimum((1 - np.abs(across)) * 0.042, 0.02 - y)
    height = 0.05 * np.sqrt(np.clip(1 - across * across, 0, 1))
    solids = [_Solid(cover(band, camera.pixel), height, _plain(colour, x), 0.3)]
    for side in (-1, 1):
        facing = 1 - 0.9 * side * camera.sin_yaw
        cx = np.float32(camera.cos_yaw * side * (scene["face_width"] + 0.05))
        dx = np.abs(x - cx) / np.float32(0.105 * facing)
        dy = np.abs(y - 0.05) / np.float32(0.20)
        r = (dx**4 + dy**4) ** 0.25
        cup = 0.10 * np.sqrt(np.clip(1 - r * r, 0, 1))
        albedo = _plain(colour, x)
        inner = smoothstep(0.1, -0.1, (x - cx) * side / 0.1)
        palette.mix(albedo, pad, inner.astype(np.float32))
        solids.append(_Solid(cover((1 - r) * 0.1, camera.pixel), cup, albedo, 0.35))
    return solids


def _flower(scene: Scene, camera: Camera, head: Surface) -> list[_Solid]:
    rng = _rng(scene, "flower")
    side = -1.0 if rng.random() < 0.5 else 1.0
    width = scene["face_width"]
    cx, cy = camera.project(side * width * 0.86, -0.40, 0.30)
    size = rng.uniform(0.19, 0.25)
    x, y = (camera.frame_x - np.float32(cx)) / size, (camera.frame_y - np.float32(cy)) / size
    r, angle = np.sqrt(x * x + y * y), np.arctan2(y, x) + rng.uniform(0, 6)
    petals = int(rng.integers(5, 8))
    lobe = np.abs(np.cos(petals / 2 * angle))
    edge = 0.58 + 0.42 * lobe**0.6
    height = size * 0.35 * np.sqrt(np.clip(1 - (r / edge) ** 2, 0, 1)) * (0.45 + 0.55 * lobe)
    colour = palette.hsv(rng.choice([0.0, 0.93, 0.13, 0.78, 0.06]), rng.uniform(0.3, 0.8), 0.93)
    albedo = _plain(colour, x)
    palette.mix(albedo, colour * np.float32(0.55), 0.7 * smoothstep(0.5, 0.15, r))
    heart = smoothstep(0.27, 0.21, r)
    palette.mix(albedo, palette.linear((236, 178, 40)), heart)
    height = height + heart * size * 0.25 * np.sqrt(np.clip(1 - (r / 0.27) ** 2, 0, 1))
    alpha = cover((edge - r) * size, camera.pixel, 1.5)
    return [_Solid(alpha, height, albedo, 0.05)]


def _capsule(
    camera: Camera, start: tuple[float, float], end: tuple[float, float], r0: float, r1: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed distance (> 0 inside), height and position along (0 to 1) of a tapering capsule."""
    ax, ay = camera.frame_x - np.float32(start[0]), camera.frame_y - np.float32(start[1])
    dx, dy = end[0] - start[0], end[1] - start[1]
    t = np.clip((ax * dx + ay * dy) / (dx * dx + dy * dy), 0, 1)
    distance = np.sqrt((ax - t * dx) ** 2 + (ay - t * dy) ** 2)
    radius = r0 + (r1 - r0) * t
    return radius - distance, np.sqrt(np.clip(radius**2 - distance**2, 0, None)), t


def _microphone(scene: Scene, camera: Camera, head: Surface) -> list[_Solid]:
    rng = _rng(scene, "microphone")
    side = -1.0 if rng.random() < 0.5 else 1.0
    bx, by = side * rng.uniform(0.10, 0.30), rng.uniform(0.60, 0.72)
    grip, grip_height, _ = _capsule(camera, (bx, by), (bx + side * 0.30, 1.35), 0.085, 0.065)
    ball, ball_height, _ = _capsule(camera, (bx, by), (bx + 1e-3, by), 0.165, 0.165)
    dark = palette.linear((34, 34, 38))
    steel = palette.linear((150, 152, 158))
    x, y = camera.frame_x - bx, camera.frame_y - by
    grid = 0.5 * np.cos((x + y) * 75) + 0.5 * np.cos((x - y) * 75)
    albedo = palette.tint(steel, 0.85 + 0.25 * grid)
    collar = np.exp(-((((x * side * 0.5 + y) - 0.10) / 0.03) ** 2))
    palette.mix(albedo, _colour(rng), 0.9 * collar)
    return [
        _Solid(cover(grip, camera.pixel), grip_height, _plain(dark, grip), 0.3),
        _Solid(cover(ball, camera.pixel), ball_height + 0.004 * grid, albedo, 0.35),
    ]


def _hand(scene: Scene, camera: Camera, head: Surface) -> list[_Solid]:
    rng = _rng(scene, "hand")
    side = -1.0 if rng.random() < 0.5 else 1.0
    raised = rng.random() < 0.4
    if raised:  # beside the face, palm to the viewer
        palm = ((0.66, 1.02), (0.64, 0.86), 0.24, 0.22)
        fingers = [((0.49 + 0.11 * i, 0.72), (0.40 + 0.165 * i, top), 0.062, 0.050)
                   for i, top in enumerate((0.36, 0.27, 0.30, 0.42))]  # fmt: skip
        fingers.append(((0.50, 0.98), (0.26, 0.74), 0.075, 0.055))
    else:  # under the chin, fingers along the cheek
        palm = ((0.54, 1.20), (0.40, 0.92), 0.27, 0.25)
        fingers = [((0.21 + 0.13 * i, 0.86), (0.13 + 0.155 * i, top), 0.078, 0.062)
                   for i, top in enumerate((0.50, 0.40, 0.38, 0.46))]  # fmt: skip
    parts = [_capsule(camera, (side * a[0], a[1]), (side * b[0], b[1]), r0, r1)
             for a, b, r0, r1 in [palm, *fingers]]  # fmt: skip
    inside = np.max([p[0] for p in parts], axis=0)
    height = np.max([p[1] for p in parts], axis=0)
    skin = palette.skin(scene) * np.array([1.0, 0.92, 0.90], np.float32)
    albedo = _plain(skin, inside)
    tips = np.max([p[2] * (p[0] > 0) for p in parts[1:]], axis=0)
    palette.mix(albedo, skin * np.array([1.0, 0.75, 0.73], np.float32), 0.5 * tips**3)
    if not raised:
        nail = np.max([smoothstep(0.95, 1.0, p[2]) * (p[0] > 0.024) for p in parts[1:]], axis=0)
        palette.mix(albedo, palette.linear((240, 205, 195)), 0.35 * nail)
    height = cv2.GaussianBlur(height.astype(np.float32), (0, 0), 0.008 / camera.pixel)
    return [_Solid(cover(inside, camera.pixel), 0.85 * height, albedo, 0.06)]
