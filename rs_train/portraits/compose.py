"""One scene, drawn back to front."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rs_train.portraits import body, extras, face, hair, palette, shading
from rs_train.portraits.canvas import SUPERSAMPLE, Canvas, Layers
from rs_train.portraits.geometry import (
    EYE_LINE,
    Camera,
    Surface,
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

HEAD_DEPTH = 1.12  # half depth of the head over its half width


@dataclass(frozen=True)
class _Stage:
    """What every part of the drawing needs."""

    scene: Scene
    camera: Camera
    lights: shading.Lights
    head: Surface
    canvas: Canvas


def compose(scene: Scene, size: int, *, with_flat: bool) -> Layers:
    """Draws a scene at [2 size, 2 size] in linear light.

    Args:
        scene: from `sample_scene`.
        size: side of the finished picture.
        with_flat: also draw the flat colours, which the photo does not need.
    """
    camera = make_camera(scene, size * SUPERSAMPLE)
    canvas = Canvas(body.paint_background(scene, camera), with_flat=with_flat)
    head = intersect(camera, head_profile(scene), HEAD_DEPTH)
    stage = _Stage(scene, camera, shading.make_lights(scene), head, canvas)
    front = hair.front_layer(scene, camera, head)
    back = hair.back_layer(scene, camera)
    if back is not None:
        canvas.put(_shade_hair(stage.lights, back), back.albedo, back.alpha, "hair")
    _put_neck(stage)
    _put_clothes(stage)
    if scene.hair not in ("bob", "long"):
        _put_ears(stage)
    _put_face(stage, front)
    if "mask" in scene.extras:
        extras.put_mask(scene, camera, stage.lights, head, canvas)
    if scene.glasses:
        _put_glasses(stage)
    if front is not None:
        canvas.put(_shade_hair(stage.lights, front), front.albedo, front.alpha, "hair")
    extras.put_in_front(scene, camera, stage.lights, head, canvas)
    return Layers(canvas.light, canvas.flat, canvas.masks, camera, head)


def _shade_hair(lights: shading.Lights, layer: hair.HairLayer) -> np.ndarray:
    light = shading.irradiance(lights, layer.normal, 0.9, 0.35)
    gloss = shading.strand_highlight(lights, layer.normal, 26) * layer.gloss
    sheen = palette.spread(np.clip(gloss, 0, 1) * 0.55) * (0.30 * cv2.sqrt(layer.albedo) + 0.05)
    return layer.albedo * light + sheen


def _put_clothes(stage: _Stage) -> None:
    window = stage.camera.window(1.0, 0.55, 1.0)
    camera = stage.camera.crop(window)
    alpha, normal, albedo = body.clothes_layer(stage.scene, camera)
    contact = 1 - 0.5 * bump(camera.frame_x, camera.frame_y - 0.78, 0.42, 0.13)
    light = shading.irradiance(stage.lights, normal, contact, 0.3)
    stage.canvas.put(albedo * light, albedo, alpha, "clothes", window=window)


def _put_neck(stage: _Stage) -> None:
    window = stage.camera.window(0.6, 0.1, 1.0)
    camera = stage.camera.crop(window)
    alpha, normal = body.neck_layer(stage.scene, camera)
    chin = stage.scene["face_length"]
    shadow = 1 - 0.68 * smoothstep(chin + 0.30, chin - 0.12, camera.frame_y)
    light = shading.irradiance(stage.lights, normal, shadow, 0.25, 0.12)
    colour = palette.tint(palette.skin(stage.scene), np.full_like(alpha, 0.97))
    stage.canvas.put(colour * light, colour, alpha, "skin", window=window)


def _put_ears(stage: _Stage) -> None:
    window = stage.camera.window(0.95, -0.34, 0.42)
    camera = stage.camera.crop(window)
    alpha, normal, hollow = body.ear_layer(stage.scene, camera)
    open_ = 0.88 - 0.4 * np.clip(hollow, 0, 1)
    light = shading.irradiance(stage.lights, normal, open_, 0.3, 0.15)
    tone = palette.skin(stage.scene) * np.array([1.0, 0.86, 0.84], np.float32)
    colour = palette.tint(tone, np.ones_like(alpha))
    stage.canvas.put(colour * light, colour, alpha, "skin", window=window)


def _put_glasses(stage: _Stage) -> None:
    window = stage.head.window(0.75, EYE_LINE - 0.25, EYE_LINE + 0.3)
    head = stage.head.crop(window)
    for image in stage.canvas.targets(window):
        rim = paint_glasses(stage.scene, stage.camera, head, stage.lights, image)
    stage.canvas.cover(rim, "glasses", window=window)


def _put_face(stage: _Stage, front: hair.HairLayer | None) -> None:
    scene, lights, canvas = stage.scene, stage.lights, stage.canvas
    window = stage.head.window(2.0, -2.0, 2.0)
    head, camera = stage.head.crop(window), stage.camera.crop(window)
    h = face.relief(scene, camera, head)
    soft = cv2.GaussianBlur(h, (0, 0), 0.035 / camera.pixel)
    cavity = np.clip((h - soft) * 9.0, -0.5, 0.12)
    normal = normals(head.depth * 0.92 + h * 1.15, camera.pixel)
    albedo, gloss, eyes, lids = _paint_face(scene, camera, head)
    occlusion = (1 + cavity) * (1 - 0.30 * smoothstep(0.5, 0.95, head.v))
    if front is not None:
        drop = cv2.GaussianBlur(front.alpha[window], (0, 0), 0.045 / camera.pixel)
        occlusion *= 1 - 0.42 * drop
    colour = albedo * shading.irradiance(lights, normal, occlusion, 0.22, 0.16)
    oil = 0.13 * shading.highlight(lights, normal, 22) + 0.05 * shading.highlight(lights, normal, 6)
    oil = oil * (1 + np.minimum(2 * gloss, 0)) + 0.35 * np.maximum(gloss, 0) * shading.highlight(
        lights, normal, 45
    )
    oil *= (1 - eyes) * occlusion
    colour += palette.tint(lights.key_colour, oil)
    sparkle = 0.9 * face.catch_lights(scene, head.crop(lids), camera.pixel) * eyes[lids]
    for image in (colour, albedo):
        palette.mix(image[lids], np.float32(0.95) * lights.key_colour, sparkle)
    alpha = cover(head.inside, camera.pixel)
    canvas.put(colour, albedo, alpha, "skin", "face", window=window)
    canvas.masks["eyes"][window] += alpha * eyes
    canvas.masks["lips"][window] += alpha * (gloss > 0.5)


def _paint_face(
    scene: Scene, camera: Camera, head: Surface
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[slice, slice]]:
    """Albedo, gloss (lips 1, beard -0.4), eye opening, and the rectangle of the eyes."""
    albedo = face.paint_skin(scene, camera, head)
    if scene.hair in ("bald", "short"):
        scalp = smoothstep(-0.42, -0.56, head.v + 0.12 * (head.u / 0.5) ** 2)
        amount = 0.35 if scene.hair == "short" else 0.16
        palette.mix(albedo, palette.hair(scene), amount * scalp)
    gloss, eyes, matt = (np.zeros_like(head.u) for _ in range(3))
    beard = head.window(0.7, scene["mouth_height"] - 0.32, 0.95)
    matt[beard] = face.paint_beard(scene, albedo[beard], head.crop(beard))
    if "face paint" in scene.extras:
        extras.paint_face(scene, albedo, head)
    lips = head.window(0.30, scene["mouth_height"] - 0.16, scene["mouth_height"] + 0.22)
    gloss[lips] = face.paint_mouth(scene, albedo[lips], head.crop(lips), camera.pixel)
    nose = head.window(0.20, face.nose_tip(scene) - 0.05, face.nose_tip(scene) + 0.12)
    face.paint_nostrils(scene, camera, albedo[nose], head.crop(nose))
    brows = head.window(0.48, EYE_LINE - 0.36, EYE_LINE - 0.02)
    face.paint_brows(scene, albedo[brows], head.crop(brows))
    lids = head.window(0.45, EYE_LINE - 0.14, EYE_LINE + 0.14)
    eyes[lids] = face.paint_eyes(scene, albedo[lids], head.crop(lids), camera.pixel)
    return albedo, gloss - 0.4 * matt, eyes, lids
