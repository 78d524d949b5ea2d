"""Procedural portraits whose truth is known: parameters, landmarks, masks, captions."""

from rs_train.portraits.captions import attributes, caption
from rs_train.portraits.renderer import LANDMARK_NAMES, MASK_NAMES, Rendering, landmarks, render
from rs_train.portraits.scene import PARAMETER_NAMES, Scene, parameters, sample_scene

__all__ = [
    "LANDMARK_NAMES",
    "MASK_NAMES",
    "PARAMETER_NAMES",
    "Rendering",
    "Scene",
    "attributes",
    "caption",
    "landmarks",
    "parameters",
    "render",
    "sample_scene",
]
