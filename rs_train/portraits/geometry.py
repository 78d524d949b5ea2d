"""The head as a surface: elliptical cross-sections along its height, seen under yaw, pitch, roll.

Frame coordinates run from -1 to 1, x to the right, y down. Head coordinates (u, v, z) turn with
the head: u to the right, v down, z towards the viewer when the head looks straight ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from rs_train.portraits.scene import Scene

Window = tuple[slice, slice]

EYE_LINE = -0.06
_PITCH_PIVOT = 0.3
_PROFILE_ROWS = 1024
_PROFILE_SPAN = 1.6  # profiles are tabulated for y in [-span, span]


@dataclass(frozen=True)
class Surface:
    """Where the ray of each pixel meets a lathe-like surface. All float32 [S, S]."""

    u: np.ndarray
    v: np.ndarray
    z: np.ndarray
    depth: np.ndarray  # towards the viewer, in the frame's coordinates
    inside: np.ndarray  # > 0 inside the silhouette, in units of length
    half_width: np.ndarray

    def window(self, u: float, v_low: float, v_high: float) -> Window:
        """The smallest rectangle of pixels with |u| below a bound and v between two."""
        near = (np.abs(self.u) < u) & (self.v > v_low) & (self.v < v_high) & (self.inside > -0.02)
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def crop(self, window: Window) -> Surface:
        """The surface inside a rectangle; its arrays are views."""
        return Surface(*(getattr(self, field.name)[window] for field in fields(self)))


@dataclass(frozen=True)
class Camera:
    """Pixel grid in head-centred, un-rolled coordinates."""

    x: np.ndarray
    y: np.ndarray
    frame_x: np.ndarray
    frame_y: np.ndarray
    pixel: float
    sin_yaw: float
    cos_yaw: float
    sin_pitch: float
    sin_roll: float
    cos_roll: float
    centre: float

    def crop(self, window: Window) -> Camera:
        """The same camera for a rectangle of its pixels."""
        grids = {name: getattr(self, name)[window] for name in ("x", "y", "frame_x", "frame_y")}
        return replace(self, **grids)

    def window(self, x: float, y_low: float, y_high: float) -> Window:
        """The rectangle of pixels with |frame_x| below a bound and frame_y between two."""
        size = len(self.frame_x)
        rows = [round((y + 1) / 2 * size) for y in (y_low, y_high)]
        left = max(0, round((1 - x) / 2 * size))
        return slice(max(0, rows[0]), min(size, rows[1])), slice(left, size - left)

    def project(self, u: float, v: float, z: float) -> tuple[float, float]:
        """Head coordinates to frame coordinates."""
        x = self.cos_yaw * u + self.sin_yaw * z + self.centre
        y = v + self.sin_pitch * (z - _PITCH_PIVOT)
        return (
            self.cos_roll * x - self.sin_roll * y,
            self.sin_roll * x + self.cos_roll * y,
        )


def make_camera(scene: Scene, size: int) -> Camera:
    """The camera of a scene for a [size, size] grid."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    frame_x, frame_y = np.meshgrid(axis, axis)
    sin_roll, cos_roll = float(np.sin(scene["roll"])), float(np.cos(scene["roll"]))
    sin_yaw, cos_yaw = float(np.sin(scene["yaw"])), float(np.cos(scene["yaw"]))
    centre = -0.6 * sin_yaw * 0.45  # an aligned crop follows the face, which moves with yaw
    return Camera(
        x=cos_roll * frame_x + sin_roll * frame_y - np.float32(centre),
        y=-sin_roll * frame_x + cos_roll * frame_y,
        frame_x=frame_x,
        frame_y=frame_y,
        pixel=2.0 / size,
        sin_yaw=sin_yaw,
        cos_yaw=cos_yaw,
        sin_pitch=float(np.sin(scene["pitch"])),
        sin_roll=sin_roll,
        cos_roll=cos_roll,
        centre=centre,
    )


def profile_rows() -> np.ndarray:
    """The heights at which profiles are tabulated, float32 [1024]."""
    return np.linspace(-_PROFILE_SPAN, _PROFILE_SPAN, _PROFILE_ROWS, dtype=np.float32)


def head_profile(scene: Scene, inflate: float = 0.0) -> np.ndarray:
    """Half width of the head at each of `profile_rows()`; 0 outside it."""
    y = profile_rows()
    width = scene["face_width"] + inflate
    widest = -0.14
    top, chin = -0.82 - inflate * 1.1, scene["face_length"] + inflate * 0.4
    upper = np.clip((widest - y) / (widest - top), 0, 1)
    lower = np.clip((y - widest) / (chin - widest), 0, 1)
    half = np.where(
        y < widest,
        np.clip(1 - upper**2.25, 0, 1) ** 0.5,
        np.clip(1 - lower ** scene["jaw_power"], 0, 1) ** (1 / scene["jaw_square"]),
    )
    return (width * half).astype(np.float32)


def look_up(table: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of a tabulated profile at heights y, float32 like y."""
    scale = (_PROFILE_ROWS - 1) / (2 * _PROFILE_SPAN)
    where = (y + _PROFILE_SPAN) * np.float32(scale)
    row = np.zeros_like(where)
    return cv2.remap(table[None, :], where, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def intersect(camera: Camera, half_width: np.ndarray, depth_ratio: float) -> Surface:
    """Meets each pixel's ray with the surface whose cross-section at y is an ellipse.

    Args:
        camera: pixel grid.
        half_width: tabulated half width over `profile_rows()`.
        depth_ratio: half depth of the widest cross-section over its half width.
    """
    s, c = np.float32(camera.sin_yaw), np.float32(camera.cos_yaw)
    a = np.maximum(look_up(half_width, camera.y), 1e-3)
    widest = float(half_width.max())
    b = (depth_ratio * widest) * cv2.pow(a / widest, 0.75)
    rows = profile_rows()
    forward = (0.16 * np.clip((rows + 0.1) / 0.9, 0, 1) ** 1.5).astype(np.float32)
    centre_z = look_up(forward, camera.y)
    x = camera.x - s * centre_z
    # X = c x - s t, Z = s x + c t on the ellipse (X/a)^2 + (Z/b)^2 = 1: a quadratic in t
    ia, ib = 1 / (a * a), 1 / (b * b)
    qa = s * s * ia + c * c * ib
    qb = x * (c * s) * (ib - ia)
    qc = x * x * (c * c * ia + s * s * ib) - 1
    root = cv2.sqrt(np.maximum(qb * qb - qa * qc, 0))
    t = (root - qb) / qa
    extent = cv2.sqrt(c * c * a * a + s * s * b * b)
    u = c * x - s * t
    z = s * x + c * t + centre_z
    v = camera.y - np.float32(camera.sin_pitch) * (z - _PITCH_PIVOT)
    inside = np.where(a > 2e-3, extent - np.abs(x), -1.0).astype(np.float32)
    return Surface(u, v, z, t + centre_z * c, inside, a)


def normals(depth: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals (x right, y down, z to the viewer) of a depth image, float32 [S, S] each."""
    gx = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3, scale=-1 / (8 * pixel))
    gy = cv2.Sobel(depth, cv2.CV_32F, 0, 1, ksize=3, scale=-1 / (8 * pixel))
    inv = 1 / cv2.sqrt(gx * gx + gy * gy + 1)
    return gx * inv, gy * inv, inv


def cover(distance: np.ndarray, pixel: float, soft: float = 1.0) -> np.ndarray:
    """Coverage in [0, 1] from a signed distance (> 0 inside), an edge `soft` pixels wide."""
    return np.clip(distance * np.float32(1 / (pixel * soft)) + np.float32(0.5), 0, 1)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Cubic step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """Gaussian bump, 1 at the origin."""
    return np.exp(-(x * x) * np.float32(1 / width**2) - (y * y) * np.float32(1 / height**2))
