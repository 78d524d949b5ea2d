"""One portrait, drawn back to front at twice its size in linear light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rs_train.portraits import body, face, hair, palette, shading
from rs_train.portraits.geometry import (
    EYE_LINE,
    Camera,
    Surface,
    Window,
    bump,
    cover,
    head_profile,
    intersect,
    make_camera,
    normals,
    smoothstep,
)
from rs_train.portraits.glasses import paint_glasses
from rs_train.portraits.scene import Scene

SUPERSAMPLE = 2
HEAD_DEPTH = 1.12
MASK_NAMES = ("background", "clothes", "skin", "face", "hair", "eyes", "lips", "glasses")
LANDMARK_NAMES = (
    "left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner", "chin",
)  # fmt: skip


@dataclass(frozen=True)
class Rendering:
    """A portrait and its truth.

    Attributes:
        image: uint8 [S, S, 3], sRGB.
        masks: bool [S, S] by name, see `MASK_NAMES`; a pixel is where that part is in front.
        landmarks: float32 [6, 2], (x, y) in pixels, in the order of `LANDMARK_NAMES`; left and
            right are the picture's.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray]
    landmarks: np.ndarray


@dataclass(frozen=True)
class Layers:
    """The undeveloped picture: linear light at twice the size, and soft masks."""

    light: np.ndarray
    masks: dict[str, np.ndarray]
    camera: Camera
    head: Surface


class _Canvas:
    """A linear picture with the coverage of every part in front."""

    def __init__(self, background: np.ndarray) -> None:
        self.image = background
        shape = background.shape[:2]
        self.masks = {name: np.zeros(shape, np.float32) for name in MASK_NAMES}
        self.masks["background"] += 1

    def put(
        self, colour: np.ndarray, alpha: np.ndarray, *names: str, window: Window | None = None
    ) -> None:
        """Paints a layer that belongs to the parts `names`, into a rectangle."""
        window = window or (slice(None), slice(None))
        palette.mix(self.image[window], colour, alpha)
        rest = 1 - alpha
        for mask in self.masks.values():
            mask[window] *= rest
        for name in names:
            self.masks[name][window] += alpha


def compose(scene: Scene, size: int) -> Layers:
    """Draws a scene at [2 size, 2 size] in linear light."""
    camera = make_camera(scene, size * SUPERSAMPLE)
    lights = shading.make_lights(scene)
    canvas = _Canvas(body.paint_background(scene, camera))
    head = intersect(camera, head_profile(scene), HEAD_DEPTH)
    front = hair.front_layer(scene, camera, head)
    back = hair.back_layer(scene, camera)
    if back is not None:
        canvas.put(_shade_hair(lights, back), back.alpha, "hair")
    _put_neck(scene, camera, lights, canvas)
    _put_clothes(scene, camera, lights, canvas)
    if scene.hair not in ("bob", "long"):
        _put_ears(scene, camera, lights, canvas)
    _put_face(scene, camera, head, lights, canvas, front)
    if scene.glasses:
        window = head.window(0.75, EYE_LINE - 0.25, EYE_LINE + 0.3)
        masks = {name: mask[window] for name, mask in canvas.masks.items()}
        paint_glasses(
            scene, camera, head.crop(window), lights, canvas.image[window], masks
        )
    if front is not None:
        canvas.put(_shade_hair(lights, front), front.alpha, "hair")
    return Layers(canvas.image, canvas.masks, camera, head)


def _shade_hair(lights: shading.Lights, layer: hair.HairLayer) -> np.ndarray:
    light = shading.irradiance(lights, layer.normal, 0.9, 0.35)
    gloss = shading.strand_highlight(lights, layer.normal, 26) * layer.gloss
    sheen = palette.spread(np.clip(gloss, 0, 1) * 0.55) * (0.30 * cv2.sqrt(layer.albedo) + 0.05)
    return layer.albedo * light + sheen


def _put_clothes(scene: Scene, camera: Camera, lights: shading.Lights, canvas: _Canvas) -> None:
    window = camera.window(1.0, 0.55, 1.0)
    camera = camera.crop(window)
    alpha, normal, albedo = body.clothes_layer(scene, camera)
    contact = 1 - 0.5 * bump(camera.frame_x, camera.frame_y - 0.78, 0.42, 0.13)
    cloth = albedo * shading.irradiance(lights, normal, contact, 0.3)
    canvas.put(cloth, alpha, "clothes", window=window)


def _put_neck(scene: Scene, camera: Camera, lights: shading.Lights, canvas: _Canvas) -> None:
    window = camera.window(0.6, 0.1, 1.0)
    camera = camera.crop(window)
    alpha, normal = body.neck_layer(scene, camera)
    chin = scene["face_length"]
    shadow = 1 - 0.68 * smoothstep(chin + 0.30, chin - 0.12, camera.frame_y)
    light = shading.irradiance(lights, normal, shadow, 0.25, 0.12)
    tone = palette.tint(palette.skin(scene), np.full_like(alpha, 0.97))
    canvas.put(tone * light, alpha, "skin", window=window)


def _put_ears(scene: Scene, camera: Camera, lights: shading.Lights, canvas: _Canvas) -> None:
    window = camera.window(0.95, -0.34, 0.42)
    camera = camera.crop(window)
    alpha, normal, hollow = body.ear_layer(scene, camera)
    light = shading.irradiance(lights, normal, 0.88 - 0.4 * np.clip(hollow, 0, 1), 0.3, 0.15)
    colour = palette.skin(scene) * np.array([1.0, 0.86, 0.84], np.float32)
    canvas.put(palette.tint(colour, np.ones_like(alpha)) * light, alpha, "skin", window=window)


def _put_face(
    scene: Scene,
    camera: Camera,
    head: Surface,
    lights: shading.Lights,
    canvas: _Canvas,
    front: hair.HairLayer | None,
) -> None:
    window = head.window(2.0, -2.0, 2.0)
    head, camera = head.crop(window), camera.crop(window)
    h = face.relief(scene, camera, head)
    soft = cv2.GaussianBlur(h, (0, 0), 0.035 / camera.pixel)
    cavity = np.clip((h - soft) * 9.0, -0.5, 0.12)
    normal = normals(head.depth * 0.92 + h * 1.15, camera.pixel)
    albedo = face.paint_skin(scene, camera, head)
    if scene.hair in ("bald", "short"):
        scalp = smoothstep(-0.42, -0.56, head.v + 0.12 * (head.u / 0.5) ** 2)
        amount = 0.35 if scene.hair == "short" else 0.16
        palette.mix(albedo, palette.hair(scene), amount * scalp)
    gloss, eyes = np.zeros_like(h), np.zeros_like(h)
    beard = head.window(0.7, scene["mouth_height"] - 0.32, 0.95)
    face.paint_beard(scene, albedo[beard], head.crop(beard))
    lips = head.window(0.30, scene["mouth_height"] - 0.16, scene["mouth_height"] + 0.22)
    gloss[lips] = face.paint_mouth(scene, albedo[lips], head.crop(lips), camera.pixel)
    nose = head.window(0.20, face.nose_tip(scene) - 0.05, face.nose_tip(scene) + 0.12)
    face.paint_nostrils(scene, camera, albedo[nose], head.crop(nose))
    brows = head.window(0.48, EYE_LINE - 0.36, EYE_LINE - 0.02)
    face.paint_brows(scene, albedo[brows], head.crop(brows))
    lids = head.window(0.45, EYE_LINE - 0.14, EYE_LINE + 0.14)
    eyes[lids] = face.paint_eyes(scene, albedo[lids], head.crop(lids), camera.pixel)
    occlusion = (1 + cavity) * (1 - 0.30 * smoothstep(0.5, 0.95, head.v))
    if front is not None:
        drop = cv2.GaussianBlur(front.alpha[window], (0, 0), 0.045 / camera.pixel)
        occlusion *= 1 - 0.42 * drop
    light = shading.irradiance(lights, normal, occlusion, 0.22, 0.16)
    colour = albedo * light
    oil = 0.13 * shading.highlight(lights, normal, 22) + 0.05 * shading.highlight(lights, normal, 6)
    oil += 0.35 * gloss * shading.highlight(lights, normal, 45)
    oil *= (1 - eyes) * occlusion
    colour += palette.tint(lights.key_colour, oil)
    sparkle = face.catch_lights(scene, head.crop(lids), camera.pixel) * eyes[lids]
    palette.mix(colour[lids], np.float32(0.95) * lights.key_colour, 0.9 * sparkle)
    alpha = cover(head.inside, camera.pixel)
    canvas.put(colour, alpha, "skin", "face", window=window)
    canvas.masks["eyes"][window] += alpha * eyes
    canvas.masks["lips"][window] += alpha * (gloss > 0.5)


def develop(light: np.ndarray) -> np.ndarray:
    """Linear light [2S, 2S, 3] to sRGB float32 [S, S, 3] in [0, 1], with a soft shoulder."""
    size = light.shape[0] // SUPERSAMPLE
    small = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)
    small = np.clip(small, 0, None)
    small = np.minimum(small, 0.55 + 0.45 * np.tanh((small - 0.55) / 0.45))
    return cv2.pow(small, 1 / 2.2)


def render(scene: Scene, size: int, domain: str = "photo") -> Rendering:
    """Renders a scene.

    Args:
        scene: from `sample_scene`.
        size: of the square picture, 32 to 1024.
        domain: "photo".
    """
    layers = compose(scene, size)
    image = develop(layers.light)
    masks = {}
    for name, mask in layers.masks.items():
        small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
        masks[name] = small > 0.5
    pixels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return Rendering(pixels, masks, landmarks(scene, size))


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
