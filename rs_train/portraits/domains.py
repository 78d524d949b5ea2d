"""Target domains: a light, a palette, a medium and a line make a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class DomainStyle:
    """A look.

    Attributes:
        light: how the scene is lit, a name in `tones.LIGHTS`.
        palette: its colours, a name in `tones.PALETTES`.
        medium: what it is made with, a name in `media.MEDIA`.
        line: its outlines, a name in `media.LINES`.
        phrase: what a caption calls it; "of a person" follows.
    """

    light: str
    palette: str
    medium: str
    line: str
    phrase: str


DOMAINS: Final[dict[str, DomainStyle]] = {
    "photo": DomainStyle("scene", "natural", "smooth", "none", "a photo"),
    "sketch": DomainStyle("soft", "graphite", "hatching", "pencil", "a toned pencil sketch"),
    "cartoon": DomainStyle("banded", "saturated", "smooth", "ink", "a cartoon with ink outlines"),
    "oil": DomainStyle("dramatic", "warm", "strokes", "none", "an oil painting"),
    "watercolour": DomainStyle("scene", "light", "washes", "fine", "a watercolour"),
    "charcoal": DomainStyle("soft", "charcoal", "chalk", "pencil", "a charcoal drawing"),
    "ink": DomainStyle("banded", "ink", "smooth", "ink", "an ink drawing"),
    "pastel": DomainStyle("soft", "light", "chalk", "none", "a pastel drawing"),
    "pop": DomainStyle("banded", "pop", "smooth", "ink", "a pop art print"),
    "sepia": DomainStyle("scene", "sepia", "smooth", "none", "a sepia photograph"),
}
