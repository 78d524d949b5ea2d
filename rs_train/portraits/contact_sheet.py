"""Sheets of pictures: the same heads in several domains, and one head in every look of `looks`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rs_train.portraits.looks import all_looks
from rs_train.portraits.renderer import render
from rs_train.portraits.scene import sample_scene

ROWS: Final = (
    ("photo", "photo", False),
    ("with extras", "photo", True),
    ("sketch", "sketch", False),
    ("cartoon", "cartoon", False),
    ("oil", "oil", False),
)
HEADS: Final = (88, 52, 70, 77, 153, 167)
_GAP, _MARGIN, _LABEL_WIDTH = 6, 14, 104
_COLUMNS = 6
_PAPER, _TEXT = (250, 249, 246), (60, 58, 56)


def contact_sheet(seed: int, indices: tuple[int, ...], size: int) -> Image.Image:
    """One column per scene, one row per entry of `ROWS`."""
    step = size + _GAP
    width = _LABEL_WIDTH + len(indices) * step - _GAP + _MARGIN
    height = 2 * _MARGIN + len(ROWS) * step - _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for row, (label, domain, extras) in enumerate(ROWS):
        top = _MARGIN + row * step
        draw.text((_MARGIN, top + size // 2), label, _TEXT, font, anchor="lm")
        for column, index in enumerate(indices):
            picture = render(sample_scene(seed, index, extras=extras), size, domain).image
            sheet.paste(Image.fromarray(np.ascontiguousarray(picture)),
                        (_LABEL_WIDTH + column * step, top))  # fmt: skip
    return sheet


def looks_sheet(seed: int, index: int, size: int) -> Image.Image:
    """One scene in all looks, six a row: the seen ones, then the held-out ones."""
    step, caption = size + _GAP, 16
    names = all_looks()
    rows = -(-len(names) // _COLUMNS)
    width, height = _COLUMNS * step - _GAP, rows * (step + caption) - _GAP
    sheet = Image.new("RGB", (width + 2 * _MARGIN, height + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(9)
    scene = sample_scene(seed, index)
    for number, name in enumerate(names):
        left = _MARGIN + number % _COLUMNS * step
        top = _MARGIN + number // _COLUMNS * (step + caption)
        sheet.paste(Image.fromarray(np.ascontiguousarray(render(scene, size, name).image)),
                    (left, top))  # fmt: skip
        draw.text((left, top + size + 2), name, _TEXT, font)
    return sheet


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--looks", is_flag=True, help="One head in all looks instead.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--size", type=click.IntRange(32, 512), default=124, show_default=True)
def main(out: Path, looks: bool, seed: int, size: int) -> None:
    """Write the contact sheet to OUT, a .png or .jpg."""
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet = looks_sheet(seed, HEADS[0], size) if looks else contact_sheet(seed, HEADS, size)
    sheet.save(out, optimize=True, quality=90)


if __name__ == "__main__":
    main()
