"""Looks in other words: what a person may call a drawing, besides the renderer's captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rs_train.portraits.captions import with_article
from rs_train.portraits.domains import DomainStyle

_SUBJECTS: Final = ("person", "person", "face", "head", "man", "woman")
# What a work may be called, and the parts of a look for which that is true.
_NOUNS: Final[tuple[tuple[str, Mapping[str, tuple[str, ...]]], ...]] = (
    ("picture", {}),
    ("portrait", {}),
    *((noun, {"medium": ("smooth",)}) for noun in ("smooth picture", "smooth image", "rendering")),
    ("hatched drawing", {"medium": ("hatching",)}),
    ("hatched sketch", {"medium": ("hatching",)}),
    ("cross-hatched drawing", {"medium": ("hatching",)}),
    ("oil painting", {"medium": ("strokes",)}),
    ("oil portrait", {"medium": ("strokes",)}),
    ("painting with brush strokes", {"medium": ("strokes",)}),
    ("chalk drawing", {"medium": ("chalk",)}),
    ("chalk sketch", {"medium": ("chalk",)}),
    ("crayon drawing", {"medium": ("chalk",)}),
    ("watercolour", {"medium": ("washes",)}),
    ("watercolour painting", {"medium": ("washes",)}),
    ("watercolour sketch", {"medium": ("washes",)}),
    ("drawing", {"medium": ("hatching", "chalk")}),
    ("sketch", {"medium": ("hatching", "chalk")}),
    ("painting", {"medium": ("strokes", "washes")}),
    ("charcoal drawing", {"medium": ("hatching", "chalk"), "palette": ("charcoal",)}),
    ("charcoal sketch", {"medium": ("hatching", "chalk"), "palette": ("charcoal",)}),
    ("pencil drawing", {"medium": ("hatching",), "palette": ("graphite",)}),
    ("pencil sketch", {"medium": ("hatching",), "palette": ("graphite",)}),
    ("pastel drawing", {"medium": ("chalk",), "palette": ("light",)}),
    ("ink drawing", {"medium": ("smooth", "hatching"), "palette": ("ink",), "line": ("ink",)}),
    ("cartoon", {"medium": ("smooth",), "light": ("banded",), "line": ("ink",)}),
    ("comic", {"medium": ("smooth",), "light": ("banded",), "line": ("ink",)}),
    ("pop art print", {"medium": ("smooth",), "palette": ("pop",)}),
    ("photo", {"medium": ("smooth",), "palette": ("natural",), "line": ("none",)}),
    ("photograph", {"medium": ("smooth",), "palette": ("natural",), "line": ("none",)}),
    ("sepia photograph", {"medium": ("smooth",), "palette": ("sepia",), "line": ("none",)}),
)
_MADE: Final = {
    "smooth": ("rendered smoothly", "in smooth shading"),
    "hatching": ("drawn with hatching", "in hatching", "hatched"),
    "strokes": ("painted in oils", "in oil paint", "painted with brush strokes"),
    "chalk": ("drawn in chalk", "in chalk", "drawn with crayons"),
    "washes": ("painted in watercolour", "in watercolours", "in watercolour washes"),
}
_TONES: Final = {
    "natural": ("in natural colours", "in true colours"),
    "graphite": ("in graphite tones", "in grey tones", "in shades of grey"),
    "charcoal": ("in charcoal tones", "in charcoal", "in charcoal black"),
    "sepia": ("in sepia tones", "in sepia", "in brown tones"),
    "ink": ("in indigo tones", "in indigo", "in dark blue tones"),
    "saturated": ("in vivid colours", "in bright colours", "in saturated colours"),
    "light": ("in pastel colours", "in pale colours", "in light colours"),
    "warm": ("in warm colours", "in golden tones"),
    "pop": ("in pop art colours", "in pop art style", "in loud pop art inks"),
}
_ADJECTIVES: Final = {
    "natural": ("natural",),
    "graphite": ("graphite", "grey"),
    "charcoal": ("charcoal",),
    "sepia": ("sepia", "brown"),
    "ink": ("indigo", "blue"),
    "saturated": ("vivid", "colourful"),
    "light": ("pastel", "pale"),
    "warm": ("warm", "golden"),
    "pop": ("pop art",),
}
_OUTLINES: Final = {
    "none": ("without outlines", "without lines"),
    "pencil": ("with pencil outlines", "outlined in pencil", "with pencil lines"),
    "fine": ("with fine outlines", "with thin outlines", "with fine lines"),
    "ink": ("with ink outlines", "outlined in ink", "with bold black outlines"),
}
_LIGHTING: Final = {
    "scene": ("under plain light", "in plain light"),
    "soft": ("under soft light", "in soft light", "softly lit"),
    "banded": ("under flat light", "in flat light", "with cel shading"),
    "dramatic": ("under dramatic light", "in dramatic light", "dramatically lit"),
}
_CLAUSES: Final = {"medium": _MADE, "palette": _TONES, "line": _OUTLINES, "light": _LIGHTING}
_AMERICAN: Final = (("colour", "color"), ("grey", "gray"))
_NAMED: Final = {"medium": 0.3, "palette": 0.7, "line": 0.55, "light": 0.55}  # how often each is


@dataclass(frozen=True)
class Wording:
    """A text about looks, or about one picture.

    Attributes:
        text: Such as "a sepia drawing of a face in soft light".
        parts: For each part of a look that the text names, the values in `DomainStyle` that suit;
            None for a text about one picture.
    """

    text: str
    parts: Mapping[str, tuple[str, ...]] | None = None

    def suits(self, style: DomainStyle) -> bool:
        """Whether the text is true of a look."""
        parts = self.parts
        return parts is not None and all(getattr(style, p) in parts[p] for p in parts)


def draw_wording(style: DomainStyle, rng: np.random.Generator) -> Wording:
    """Draw a true text about a look: its phrase, or synonyms in another order with gaps."""
    subject = with_article(_pick(_SUBJECTS, rng))
    if rng.random() < 0.25:
        whole = {part: (getattr(style, part),) for part in _CLAUSES}
        return Wording(f"{style.phrase} of {subject}", whole)
    named = [part for part, share in _NAMED.items() if rng.random() < share]
    parts = {part: (getattr(style, part),) for part in named}
    clauses = {part: _pick(_CLAUSES[part][getattr(style, part)], rng) for part in named}
    if "medium" in named:  # "a face drawn in chalk"
        words = [subject, *rng.permutation(list(clauses.values()))]
        return Wording(_spelt(" ".join(words), rng), parts)
    true = [entry for entry in _NOUNS if Wording(*entry).suits(style)]
    noun, implied = true[rng.integers(len(true))]
    if "palette" in named and "palette" not in implied and rng.random() < 0.5:
        noun = f"{_pick(_ADJECTIVES[style.palette], rng)} {noun}"
        del clauses["palette"]
    words = [with_article(noun), *rng.permutation(list(clauses.values()))]
    if rng.random() < 0.7:
        words.insert(1 if rng.random() < 0.6 else len(words), f"of {subject}")
    return Wording(_spelt(" ".join(words), rng), {**implied, **parts})


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[rng.integers(len(words))]


def _spelt(text: str, rng: np.random.Generator) -> str:
    """The text, in American spelling in one of three cases."""
    if rng.random() < 1 / 3:
        for british, american in _AMERICAN:
            text = text.replace(british, american)
    return text
