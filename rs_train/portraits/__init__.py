"""Procedural portraits whose truth is known: parameters, landmarks, masks, captions."""

from rs_train.portraits.canvas import MASK_NAMES
from rs_train.portraits.captions import attributes, caption
from rs_train.portraits.domains import COMPOSED, DOMAINS, DomainStyle, domain_style
from rs_train.portraits.renderer import LANDMARK_NAMES, Rendering, landmarks, render
from rs_train.portraits.scene import PARAMETER_NAMES, Scene, parameters, sample_scene

__all__ = [
    "COMPOSED",
    "DOMAINS",
    "LANDMARK_NAMES",
    "MASK_NAMES",
    "PARAMETER_NAMES",
    "DomainStyle",
    "Rendering",
    "Scene",
    "attributes",
    "caption",
    "domain_style",
    "landmarks",
    "parameters",
    "render",
    "sample_scene",
]
