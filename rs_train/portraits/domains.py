"""Target domains: a medium, a palette, a line and a light make a look."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

from rs_runtime.contracts.errors import UsageError


@dataclass(frozen=True)
class DomainStyle:
    """A look.

    Attributes:
        light: how the scene is lit, a name in `tones.LIGHTS`.
        palette: its colours, a name in `tones.PALETTES`.
        medium: what it is made with, a name in `media.MEDIA`.
        line: its outlines, a name in `media.LINES`.
        phrase: what a caption calls it; "of a person" follows.
        being: who is drawn, "person" or "alien".
    """

    light: str
    palette: str
    medium: str
    line: str
    phrase: str
    being: str = "person"


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
    "alien": DomainStyle("scene", "natural", "smooth", "none", "a photo", being="alien"),
}

# What a phrase calls each part of a composed look; the keys are those of `media` and `tones`.
_MEDIUM_WORDS: Final = {
    "smooth": "a smooth picture",
    "hatching": "a hatched drawing",
    "strokes": "an oil painting",
    "chalk": "a chalk drawing",
    "washes": "a watercolour painting",
}
_PALETTE_WORDS: Final = {
    "natural": "in natural colours",
    "graphite": "in graphite tones",
    "charcoal": "in charcoal tones",
    "sepia": "in sepia tones",
    "ink": "in indigo tones",
    "saturated": "in vivid colours",
    "light": "in pastel colours",
    "warm": "in warm colours",
    "pop": "in pop art colours",
}
_LINE_WORDS: Final = {
    "none": "without outlines",
    "pencil": "with pencil outlines",
    "fine": "with fine outlines",
    "ink": "with ink outlines",
}
_LIGHT_WORDS: Final = {
    "scene": "under plain light",
    "soft": "under soft light",
    "banded": "under flat light",
    "dramatic": "under dramatic light",
}
_WORDS: Final = (_MEDIUM_WORDS, _PALETTE_WORDS, _LINE_WORDS, _LIGHT_WORDS)
COMPOSED: Final = tuple("-".join(parts) for parts in product(*_WORDS))


def domain_style(name: str) -> DomainStyle:
    """The look of a name in `DOMAINS`, or of a composed one.

    A composed name is `medium-palette-line-light`, such as "chalk-sepia-ink-dramatic": a chalk
    drawing in sepia tones with ink outlines under dramatic light. `COMPOSED` lists them all.

    Raises:
        UsageError: It is neither; the message tells what each part may be.
    """
    if name in DOMAINS:
        return DOMAINS[name]
    parts = name.split("-")
    if len(parts) != len(_WORDS) or any(p not in w for p, w in zip(parts, _WORDS, strict=True)):
        raise UsageError(
            f"no domain {name!r}",
            expected=f"one of {', '.join(DOMAINS)}, or MEDIUM-PALETTE-LINE-LIGHT of "
            + " - ".join("|".join(words) for words in _WORDS),
        )
    medium, palette, line, light = parts
    phrase = " ".join(words[part] for part, words in zip(parts, _WORDS, strict=True))
    return DomainStyle(light, palette, medium, line, phrase)
