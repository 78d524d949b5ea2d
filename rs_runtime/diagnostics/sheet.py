"""Strips and sheets of captioned pictures: what each stage and each domain made of a portrait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageFont import FreeTypeFont, ImageFont

PANEL_HEIGHT = 256
_GAP = 8
_BACKGROUND = "white"
_INK = (40, 40, 40)


def strip(
    panels: Sequence[tuple[str, NDArray[np.uint8]]], *, height: int = PANEL_HEIGHT
) -> NDArray[np.uint8]:
    """Draws panels side by side with a caption under each.

    Args:
        panels: (caption, picture uint8 [H, W, 3]) from left to right; at least one.
        height: Height in pixels that every picture is scaled to, keeping its proportions.

    Returns:
        uint8 [height + caption, width, 3].

    Raises:
        UsageError: No panels.
    """
    from PIL import Image, ImageDraw

    if not panels:
        raise UsageError("a strip needs at least one picture")
    pictures = [_scaled(Image.fromarray(picture), height) for _, picture in panels]
    size = max(11, height // 16)
    bar = 2 * size
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) + 1)
    sheet = Image.new("RGB", (width, height + bar + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    left = _GAP
    for (caption, _), picture in zip(panels, pictures, strict=True):
        sheet.paste(picture, (left, _GAP))
        font, text = _fit(caption, size, picture.width)
        middle = (left + picture.width // 2, _GAP + height + bar // 2)
        draw.text(middle, text, fill=_INK, font=font, anchor="mm")
        left += picture.width + _GAP
    return np.asarray(sheet)


def sheet(
    rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]], *, height: int = PANEL_HEIGHT
) -> NDArray[np.uint8]:
    """Draws strips one below the other, from the left edge.

    Args:
        rows: Panels of each strip, as for ``strip``; at least one row.
        height: Height in pixels of every picture.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UsageError: No rows, or a row without panels.
    """
    if not rows:
        raise UsageError("a sheet needs at least one row")
    strips = [strip(row, height=height) for row in rows]
    width = max(own.shape[1] for own in strips)
    paper = np.full((sum(len(own) for own in strips), width, 3), 255, np.uint8)
    top = 0
    for own in strips:
        paper[top : top + len(own), : own.shape[1]] = own
        top += len(own)
    return paper


def _scaled(picture: PilImage, height: int) -> PilImage:
    from PIL.Image import Resampling

    width = max(1, round(picture.width * height / picture.height))
    if (width, height) == picture.size:
        return picture
    return picture.resize((width, height), Resampling.LANCZOS)


def _fit(caption: str, size: int, width: int) -> tuple[FreeTypeFont | ImageFont, str]:
    """A font and a caption that fit the width: smaller letters first, then fewer."""
    from PIL import ImageFont as fonts

    for points in range(size, 8, -1):
        font = fonts.load_default(points)
        if font.getlength(caption) <= width:
            return font, caption
    text = caption
    while len(text) > 1 and font.getlength(text + "…") > width:
        text = text[:-1]
    return font, text + "…"
