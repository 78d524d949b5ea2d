"""Looks in other words: what a person may call a drawing, besides the renderer's captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rs_train.portraits.captions import with_article
from rs_train.portraits.domains import DomainStyle

_SUBJECTS: Final = ("person", "person", "face", "head", "man", "woman")
_NOUNS: Final = {
    "": ("picture", "image", "portrait", "artwork"),
    "drawn": ("drawing", "sketch"),
    "painted": ("painting",),
    "smooth": ("smooth picture", "smooth image", "smooth rendering", "clean digital picture"),
    "hatching": ("hatched drawing", "hatched sketch", "cross-hatched drawing"),
    "strokes": ("oil painting", "oil painting", "painting with brush strokes", "oil portrait"),
    "chalk": ("chalk drawing", "chalk drawing", "chalk sketch", "crayon drawing"),
    "washes": ("watercolour painting", "watercolour", "watercolour sketch"),
}
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
# Words for several media at once.
_FAMILIES: Final = {"drawn": ("hatching", "chalk"), "painted": ("strokes", "washes")}
_AMERICAN: Final = (("colour", "color"), ("grey", "gray"))
_NAMED: Final = {"medium": 0.75, "palette": 0.7, "line": 0.55, "light": 0.55}  # how often each is


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
    named = [part for part, share in _NAMED.items() if rng.random() < share]
    if not named or rng.random() < 0.25:
        whole = {part: (getattr(style, part),) for part in _NAMED}
        return Wording(f"{style.phrase} of {subject}", whole)
    parts = {part: (getattr(style, part),) for part in named}
    clauses = {p: _pick(_CLAUSES[p][getattr(style, p)], rng) for p in named}
    if "medium" in named and rng.random() < 0.3:  # "a face drawn in chalk"
        words = [subject, *rng.permutation(list(clauses.values()))]
        return Wording(_spelt(" ".join(words), rng), parts)
    clauses.pop("medium", None)
    noun, media = _draw_noun(style.medium, "medium" in named, rng)
    if "palette" in named and rng.random() < 0.5:
        noun = f"{_pick(_ADJECTIVES[style.palette], rng)} {noun}"
        del clauses["palette"]
    words = [with_article(noun), *rng.permutation(list(clauses.values()))]
    if rng.random() < 0.7:
        words.insert(1 if rng.random() < 0.6 else len(words), f"of {subject}")
    return Wording(_spelt(" ".join(words), rng), parts | media)


def _draw_noun(
    medium: str, is_named: bool, rng: np.random.Generator
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Draw what a work is called, and what the word tells of its medium beyond `is_named`."""
    if is_named:
        return _pick(_NOUNS[medium], rng), {}
    for family, media in _FAMILIES.items():
        if medium in media and rng.random() < 0.5:
            return _pick(_NOUNS[family], rng), {"medium": media}
    return _pick(_NOUNS[""], rng), {}


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[rng.integers(len(words))]


def _spelt(text: str, rng: np.random.Generator) -> str:
    """The text, in American spelling in one of three cases."""
    if rng.random() < 1 / 3:
        for british, american in _AMERICAN:
            text = text.replace(british, american)
    return text
