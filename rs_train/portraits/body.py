"""Neck, ears, shoulders with clothes, and the background."""

from __future__ import annotations

import cv2
import numpy as np

from rs_train.portraits import palette
from rs_train.portraits.geometry import Camera, bump, cover, normals, smoothstep
from rs_train.portraits.noise import field
from rs_train.portraits.scene import Scene

Normal = tuple[np.ndarray, np.ndarray, np.ndarray]


def paint_background(scene: Scene, camera: Camera) -> np.ndarray:
    """The picture behind the person, linear RGB float32 [S, S, 3]."""
    x, y = camera.frame_x, camera.frame_y
    hue, sat, val = (scene[f"background_{n}"] for n in ("hue", "saturation", "value"))
    rng = np.random.default_rng(scene.noise_seed + 9)
    dark = palette.hsv(hue + 0.04, min(1.0, sat * 1.25), val * 0.62)
    light = palette.hsv(hue - 0.03, sat * 0.8, min(1.0, val * 1.12))
    angle = rng.uniform(0, 2 * np.pi)
    ramp = smoothstep(-1.1, 1.1, np.cos(angle) * x + np.sin(angle) * y)
    image = palette.tint(light, ramp) + palette.tint(dark, 1 - ramp)
    if scene.background == "bokeh":
        for _ in range(9):
            cx, cy, r = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.10, 0.28)
            glow = palette.hsv(hue + rng.uniform(-0.12, 0.12), sat * 0.9, min(1.0, val * 1.35))
            distance = r - np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
            palette.mix(image, glow, rng.uniform(0.15, 0.45) * smoothstep(-0.05, 0.05, distance))
    elif scene.background == "wall":
        lit = bump(x - 0.7 * scene["light_azimuth"], y + 0.35, 1.0, 0.9)
        image *= palette.spread(0.62 + 0.62 * lit)
        image *= palette.spread(1 + 0.10 * field(scene.noise_seed + 8, 6, x.shape))
    image *= palette.spread(1 - 0.22 * np.clip(x * x + y * y - 0.4, 0, 1.6))
    return image.astype(np.float32)


def neck_layer(scene: Scene, camera: Camera) -> tuple[np.ndarray, Normal]:
    """Coverage and normals of the neck, a slightly widening cylinder."""
    chin = scene["face_length"]
    lean = 0.10 * camera.sin_yaw
    y = camera.frame_y
    x = camera.frame_x - np.float32(camera.centre * 0.6 + lean * 0.4)
    half = 0.27 + 0.06 * scene["masculine"] + 0.30 * np.clip(y - chin - 0.05, 0, 1) ** 1.6
    across = np.clip(x / half, -1, 1)
    depth = half * np.sqrt(1 - across * across)
    muscle = 0.018 * np.exp(-(((np.abs(x) - 0.16 + 0.25 * (y - 0.7)) / 0.05) ** 2))
    alpha = cover(half - np.abs(x), camera.pixel) * (y > 0.15)
    return alpha, normals((depth + muscle).astype(np.float32), camera.pixel)


def ear_layer(scene: Scene, camera: Camera) -> tuple[np.ndarray, Normal, np.ndarray]:
    """Coverage, normals and a darkening of the ears' hollows."""
    alpha = np.zeros_like(camera.x)
    depth = np.zeros_like(camera.x)
    hollow = np.zeros_like(camera.x)
    for side in (-1, 1):
        facing = 1 + 0.9 * side * -camera.sin_yaw
        cx = camera.cos_yaw * side * (scene["face_width"] + 0.012) - camera.sin_yaw * 0.06
        dx = (camera.x - np.float32(cx)) * side / np.float32(0.092 * facing)
        dy = (camera.y - np.float32(0.04 - 0.3 * camera.sin_pitch)) / np.float32(0.185)
        dx = dx - 0.30 * dy * -1 * 0.6
        r2 = dx * dx * (1 + 0.5 * np.clip(dy, 0, 1)) + dy * dy
        alpha = np.maximum(alpha, cover((1 - r2) * 0.05, camera.pixel))
        ring = np.exp(-(((np.sqrt(r2) - 0.80) / 0.22) ** 2))
        depth += np.where(r2 < 1.3, 0.035 * ring, 0)
        hollow += np.exp(-(((np.sqrt(r2) - 0.45) / 0.25) ** 2)) * (r2 < 1)
    return alpha, normals(depth.astype(np.float32), camera.pixel), hollow


def clothes_layer(scene: Scene, camera: Camera) -> tuple[np.ndarray, Normal, np.ndarray]:
    """Coverage, normals and albedo [S, S, 3] of shoulders and collar."""
    x = camera.frame_x - np.float32(camera.centre * 0.5)
    y = camera.frame_y
    ax = np.abs(x)
    top = 0.80 + 0.03 * (1 - scene["shoulders"])
    slope = 0.26 - 0.10 * scene["shoulders"]
    shoulder = top + slope * np.clip(ax - 0.22, 0, 2) ** 1.25 / 0.7
    body = y - shoulder
    hue, sat, val = (scene[f"clothes_{n}"] for n in ("hue", "saturation", "value"))
    albedo = np.empty((*x.shape, 3), np.float32)
    albedo[:] = palette.hsv(hue, sat, val)
    depth = 0.55 * np.sqrt(np.clip(body, 0, 1.5)) - 0.16 * ax * ax
    depth += 0.012 * field(scene.noise_seed + 5, 7, x.shape)
    opening = _neckline(scene.clothes, ax, y)
    alpha = cover(np.minimum(body, -opening), camera.pixel, 1.5)
    if scene.clothes == "turtleneck":
        roll = np.minimum(0.335 - ax * (1 - 0.05 * y), y - 0.80 - 0.10 * ax)
        on = cover(roll, camera.pixel, 1.5)
        alpha = np.maximum(alpha, on)
        depth = depth + on * (0.30 * np.sqrt(np.clip(1 - (ax / 0.36) ** 2, 0, 1)) + 0.05)
        albedo *= palette.spread(1 - 0.10 * on)
    elif scene.clothes == "collar":
        fold = np.minimum(-opening, 0.13 - np.abs(-opening - 0.065) + 0.0 * y)
        on = cover(np.minimum(fold, 0.46 - ax), camera.pixel, 1.5) * (y > 0.74)
        lighter = palette.hsv(hue + 0.02, sat * 0.35, min(1.0, val * 0.5 + 0.5))
        palette.mix(albedo, lighter, on)
        depth = depth + 0.035 * cv2.GaussianBlur(on, (0, 0), 1.0 + 0.004 / camera.pixel)
    else:
        trim = np.exp(-(((opening + 0.03) / 0.02) ** 2))
        albedo *= palette.spread(1 - 0.18 * trim)
        depth = depth + 0.02 * trim
    return alpha, normals(depth.astype(np.float32), camera.pixel), albedo


def _neckline(kind: str, ax: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance, > 0 where the neckline leaves skin bare."""
    if kind == "crew":
        return (0.93 - y) - 0.55 * np.clip(ax - 0.05, 0, 1) ** 2 * 1.6
    if kind == "v-neck":
        return (1.12 - y) - 0.85 * ax
    if kind == "collar":
        return (1.02 - y) - 0.72 * ax
    return 0.60 - y
