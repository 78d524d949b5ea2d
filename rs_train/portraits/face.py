"""The face: its relief, and what is painted on its skin."""

from __future__ import annotations

import cv2
import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.geometry import EYE_LINE, Camera, Surface, bump, cover, smoothstep
from rs_train.portraits.noise import field, strands
from rs_train.portraits.scene import Scene


def nose_tip(scene: Scene) -> float:
    """Height (v) of the nose's tip."""
    return EYE_LINE + scene["nose_length"]


def mouth_line(scene: Scene, u: np.ndarray | float) -> np.ndarray | float:
    """Height (v) of the line between the lips at u."""
    t = u / scene["mouth_width"]
    return scene["mouth_height"] - 0.075 * scene["smile"] * (t * t - 0.4)


def mouth_half_width(scene: Scene) -> float:
    """Half width of the mouth: a smile widens it, an open mouth narrows it."""
    return scene["mouth_width"] * (1 + 0.16 * scene["smile"] - 0.14 * scene["mouth_open"])


def nose_shift(scene: Scene, camera: Camera, v: np.ndarray) -> np.ndarray:
    """How far the ridge of the nose moves across the face because it stands out of it."""
    rise = np.clip((v - EYE_LINE) / scene["nose_length"], 0, 1)
    return np.float32(camera.sin_yaw * scene["nose_height"] * 0.9) * rise


def relief(scene: Scene, camera: Camera, head: Surface) -> np.ndarray:
    """Height of the face over its head, float32 [S, S], in frame units."""
    u, v = head.u, head.v
    au = np.abs(u)
    e, tip, mouth = EYE_LINE, nose_tip(scene), scene["mouth_height"]
    d = scene["eye_distance"]
    h = 0.034 * (0.6 + 0.8 * scene["masculine"]) * bump(au - 0.19, v - e + 0.15, 0.17, 0.075)
    h -= 0.060 * bump(au - d * 0.92, v - e, 0.135, 0.085)
    h += 0.030 * bump(au - d, v - e, 0.085, 0.060)
    h += (
        0.040
        * (0.5 + 0.5 * scene["cheeks"] + 0.4 * max(0.0, scene["smile"]))
        * bump(au - 0.31, v - 0.17, 0.14, 0.13)
    )
    h += 0.05 * bump(u, v - scene["face_length"] + 0.11, 0.15, 0.09)
    h -= 0.028 * bump(u, v - mouth - 0.115, 0.14, 0.04)
    h += 0.035 * bump(u, v - mouth, 0.24, 0.15)
    un = u - nose_shift(scene, camera, v)
    rise = np.clip((v - e + 0.03) / (tip - e + 0.03), 0, 1)
    under = 1 - smoothstep(tip - 0.005, tip + 0.10, v + 2.4 * un * un)
    width = 0.046 + (scene["nose_width"] - 0.034) * rise * rise
    ridge = np.exp(-((un / width) ** 2)) * (0.013 + scene["nose_height"] * rise**1.4)
    nose = np.maximum(ridge, 0.075 * bump(un, v - tip + 0.005, 0.062, 0.05) + ridge * 0.85)
    wings = 0.045 * bump(np.abs(un) - scene["nose_width"] - 0.012, v - tip - 0.005, 0.034, 0.036)
    h += (nose + wings) * under * smoothstep(e - 0.16, e + 0.02, v)
    fold = scene["nose_width"] + 0.05 + 0.55 * np.clip(v - tip, -0.03, 0.3)
    depth = 0.003 + 0.012 * max(0.0, scene["smile"])
    h -= depth * np.exp(-(((au - fold) / 0.026) ** 2)) * bump(v * 0, v - tip - 0.09, 1, 0.10)
    h += _lip_relief(scene, u, v)
    return h


def _lip_relief(scene: Scene, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    half = mouth_half_width(scene)
    line = mouth_line(scene, u)
    gap = 0.066 * scene["mouth_open"]
    taper = np.clip(1 - (u / half) ** 2, 0, 1)
    upper = np.exp(-(((v - line + 0.4 * gap + 0.022) / 0.022) ** 2))
    lower = np.exp(-(((v - line - 1.6 * gap - 0.032) / 0.028) ** 2))
    crease = np.exp(-(((v - line - 0.6 * gap) / (0.012 + gap * 0.7)) ** 2))
    return (0.020 * upper + 0.028 * lower - 0.02 * crease) * taper


def paint_skin(scene: Scene, camera: Camera, head: Surface) -> np.ndarray:
    """Albedo of the bare skin with blush, warmth of nose and ears, freckles and shaved hair."""
    u, v = head.u, head.v
    albedo = np.empty((*u.shape, 3), np.float32)
    albedo[:] = palette.skin(scene)
    red = np.array([1.0, 0.70, 0.70], np.float32) * albedo[0, 0]
    strength = (0.18 + 0.55 * scene["blush"]) * (1 - 0.55 * scene["skin"])
    tip = nose_tip(scene)
    flush = bump(np.abs(u) - 0.33, v - 0.17, 0.15, 0.11)
    flush += 0.6 * bump(u - nose_shift(scene, camera, v), v - tip, 0.085, 0.07)
    palette.mix(albedo, red, strength * flush)
    shade = albedo[0, 0] * np.array([0.80, 0.68, 0.66], np.float32)
    palette.mix(
        albedo, shade, 0.5 * bump(np.abs(u) - scene["eye_distance"], v - EYE_LINE, 0.13, 0.07)
    )
    if scene["freckles"] > 0.05:
        spots = smoothstep(0.35, 0.75, field(scene.identity % 9973, 60, u.shape))
        where = bump(np.abs(u) - 0.18, v - 0.12, 0.22, 0.10)
        palette.mix(albedo, shade * 0.8, 0.55 * scene["freckles"] * spots * where)
    return albedo


def paint_beard(scene: Scene, albedo: np.ndarray, head: Surface) -> np.ndarray:
    """Paints beard or moustache; returns its alpha, float32 [S, S]."""
    u, v = head.u, head.v
    au = np.abs(u)
    mouth, half = scene["mouth_height"], mouth_half_width(scene)
    if scene.beard == "none":
        return np.zeros_like(u)
    jaw_edge = 0.13 + 0.55 * np.clip(scene["face_width"] * 0.86 - au, 0, 1)
    full = smoothstep(0, 0.09, v - np.minimum(jaw_edge, mouth - 0.01))
    lips_free = 1 - bump(u, v - mouth - 0.02, half * 1.02, 0.060) ** 0.5
    tache_line = mouth - 0.075 + 0.12 * (au / half) ** 2
    tache = bump(u, (v - tache_line), half * 1.15, 0.034)
    goatee = bump(u, v - mouth - 0.24, 0.15, 0.15)
    goatee = smoothstep(0.25, 0.6, goatee) * smoothstep(mouth + 0.07, mouth + 0.12, v)
    alpha = {
        "stubble": 0.42 * np.maximum(full * lips_free, tache),
        "moustache": smoothstep(0.2, 0.6, tache),
        "goatee": np.maximum(goatee, smoothstep(0.25, 0.6, tache)),
        "full": np.maximum(full * smoothstep(0.25, 0.6, lips_free), smoothstep(0.25, 0.6, tache)),
    }[scene.beard]
    grain = strands(scene.noise_seed % 7919, u + 0.25 * u * v, 60)
    alpha = np.clip(alpha * (0.93 + 0.07 * grain), 0, 1)
    colour = palette.tint(palette.hair(scene), 0.95 + 0.18 * grain)
    palette.mix(albedo, colour, alpha * 0.94)
    return alpha


def paint_brows(scene: Scene, albedo: np.ndarray, head: Surface) -> None:
    """Paints both eyebrows."""
    side = np.sign(head.u)
    t = (np.abs(head.u) - scene["eye_distance"] * 0.98) / 0.150  # -1 inner end, 1 outer end
    raise_ = 0.035 * scene["brow_raise"]
    line = EYE_LINE - scene["brow_height"] - raise_
    line = line - scene["brow_arch"] * (0.3 + 0.1 * t - 0.55 * t * t)
    thick = scene["brow_thickness"] * np.clip(1.05 - 0.55 * np.clip(t, -0.2, 2), 0.02, 1.2)
    thick = thick * cv2.sqrt(smoothstep(1.1, 0.55, np.abs(t)))
    body = cover(thick - np.abs(head.v - line), 0.02) * smoothstep(1.12, 0.85, np.abs(t))
    grain = strands(scene.identity % 6007, head.u * 60 * side - head.v * 40, 1.0)
    colour = palette.hair(scene) * 0.62 + palette.skin(scene) * 0.04
    palette.mix(albedo, colour, body * (0.88 + 0.05 * grain))


def paint_mouth(scene: Scene, albedo: np.ndarray, head: Surface, pixel: float) -> np.ndarray:
    """Paints lips, teeth and the mouth's inside; returns a gloss map, float32 [S, S]."""
    u, v = head.u, head.v
    half = mouth_half_width(scene)
    t = u / half
    line = mouth_line(scene, u)
    taper = np.clip(1 - t * t, 0, 1)
    gap = 0.066 * scene["mouth_open"] * taper**0.7
    bow = 1 - 0.20 * np.exp(-((t / 0.16) ** 2)) + 0.12 * np.exp(-(((np.abs(t) - 0.28) / 0.2) ** 2))
    stretch = 1 - 0.15 * max(0.0, scene["smile"])
    top = line - 0.4 * gap - scene["upper_lip"] * stretch * taper**0.85 * bow
    bottom = line + 1.6 * gap + scene["lower_lip"] * stretch * taper**0.6
    lips = cover(np.minimum(v - top, bottom - v), pixel, 3.0) * (taper > 0)
    tone = 1 - 0.2 * (v < line)
    palette.mix(albedo, palette.tint(palette.lips(scene), tone), lips * 0.88)
    inner = cover(np.minimum(v - line + 0.4 * gap, line + 1.6 * gap - v), pixel, 1.6) * (taper > 0)
    if scene["mouth_open"] > 0.02:
        palette.mix(albedo, palette.linear((70, 18, 20)), inner)
        teeth_edge = line - 0.4 * gap + 0.046 * taper**0.5
        teeth = inner * cover(teeth_edge - v, pixel, 1.6) * smoothstep(0.98, 0.7, np.abs(t))
        palette.mix(albedo, palette.linear((236, 228, 214)), teeth)
        tongue = inner * bump(u, v - line - 1.6 * gap, half * 0.6, 0.035)
        palette.mix(albedo, palette.linear((190, 84, 82)), 0.7 * tongue)
    seam = np.exp(-(((v - line) / 0.0085) ** 2)) * smoothstep(1.06, 0.8, np.abs(t))
    palette.mix(albedo, palette.lips(scene) * 0.25, 0.85 * seam * (1 - inner))
    return lips * (1 - inner)


def paint_eyes(scene: Scene, albedo: np.ndarray, head: Surface, pixel: float) -> np.ndarray:
    """Paints both eyes with lids; returns the opening's alpha, float32 [S, S]."""
    side = np.where(head.u < 0, np.float32(-1), np.float32(1))
    size = scene["eye_size"]
    x = (np.abs(head.u) - scene["eye_distance"]) / size  # -1 inner corner, 1 outer corner
    y = (head.v - EYE_LINE) / size + scene["eye_tilt"] * x
    taper = np.clip(1 - x * x, 0, 1)
    open_ = scene["eye_open"] * (1 - scene["eyes_closed"])
    open_ *= 1 - 0.18 * max(0.0, scene["smile"])
    up = -open_ * 1.12 * taper**0.62 + 0.30 * scene["eyes_closed"] * taper
    down = (0.62 * open_ + 0.30 * scene["eyes_closed"]) * taper**0.8
    edge = np.minimum(y - up, down - y) * size
    eye = cover(edge, pixel, 1.5) * (taper > 0)
    crease = np.exp(-(((y - up + 0.30) / 0.11) ** 2)) * smoothstep(1.15, 0.7, np.abs(x))
    palette.mix(albedo, palette.skin(scene) * np.float32(0.42), 0.6 * crease)
    bag = np.exp(-(((y - down - 0.28) / 0.16) ** 2)) * smoothstep(1.0, 0.4, np.abs(x))
    palette.mix(albedo, palette.skin(scene) * np.float32(0.6), 0.25 * bag)
    white = palette.linear((232, 226, 220)) * np.float32(0.9)
    palette.mix(albedo, white, eye)
    gx = x * side - 0.30 * scene["gaze_x"]
    gy = y + 0.05 - 0.24 * scene["gaze_y"]
    r = np.sqrt(gx * gx + gy * gy)
    p = pixel / size
    disc = eye * cover(0.46 - r, p, 1.5)
    glow = (0.45 + 1.25 * smoothstep(0.12, 0.34, r)) * smoothstep(0.50, 0.36, r)
    palette.mix(albedo, palette.tint(palette.iris(scene), glow), disc)
    palette.mix(albedo, np.zeros(3, np.float32), eye * cover(0.20 - r, p, 1.5))
    shade = smoothstep(0.28, 0.0, y - up)
    palette.mix(albedo, albedo * np.float32(0.35), 0.75 * eye * shade)
    lash = np.exp(-(((y - up + 0.02) / 0.085) ** 2)) * smoothstep(1.12, 0.85, np.abs(x))
    lower = 0.35 * np.exp(-(((y - down) / 0.06) ** 2)) * smoothstep(1.05, 0.7, np.abs(x))
    dark = palette.linear((34, 22, 20))
    strength = 0.95 - 0.15 * scene["masculine"]
    palette.mix(albedo, dark, np.clip(strength * lash + lower, 0, 1))
    return eye * np.clip(1 - lash, 0, 1)


def catch_lights(scene: Scene, head: Surface, pixel: float) -> np.ndarray:
    """Alpha of the reflections of the key light on the eyes, float32 [S, S]."""
    size = scene["eye_size"]
    side = np.where(head.u < 0, np.float32(-1), np.float32(1))
    lift = 0.17 * np.sign(scene["light_azimuth"] + 1e-6)
    x = (head.u - side * scene["eye_distance"]) / size - 0.30 * scene["gaze_x"] - lift
    y = (head.v - EYE_LINE) / size + 0.19 - 0.24 * scene["gaze_y"]
    return cover(0.12 - np.sqrt(x * x + y * y), pixel / size, 2.0)


def paint_nostrils(scene: Scene, camera: Camera, albedo: np.ndarray, head: Surface) -> None:
    """Darkens the nostrils."""
    tip = nose_tip(scene)
    un = head.u - nose_shift(scene, camera, head.v)
    hole = bump(np.abs(un) - scene["nose_width"] * 0.60, head.v - tip - 0.036, 0.024, 0.013)
    palette.mix(albedo, palette.skin(scene) * np.float32(0.10), 0.85 * np.clip(hole * 1.2, 0, 1))
