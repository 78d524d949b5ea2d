"""A group photo: several heads of different sizes at known places, one of them small."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from PIL import Image

from rs_train.portraits.group import backdrop, cut_out, place
from rs_train.portraits.scene import sample_scene

WIDTH, HEIGHT = 960, 640
_BACKGROUND = 311  # number of the scene whose background it is


@dataclass(frozen=True)
class Stand:
    """Where a person stands.

    Attributes:
        index: Number of the scene.
        x: Of the middle of the portrait's frame, in pixels of the photo.
        y: Likewise.
        side: Of the portrait's frame.
        roll: Clockwise, in degrees.
    """

    index: int
    x: float
    y: float
    side: float
    roll: float


STANDS: Final = (
    Stand(139, 585, 205, 120, -4),
    Stand(17, 165, 300, 260, -8),
    Stand(63, 425, 335, 290, 4),
    Stand(61, 760, 350, 350, 11),
)


def group_photo(seed: int, stands: tuple[Stand, ...] = STANDS) -> tuple[np.ndarray, np.ndarray]:
    """Renders people and sets them before one background, those in front last.

    Returns:
        The photo uint8 [640, 960, 3], and everybody's face points float32 [people, 5, 2].
    """
    photo = backdrop(sample_scene(seed, _BACKGROUND), WIDTH)[:HEIGHT].copy()
    points = []
    for stand in stands:
        size = min(1024, 2 * round(stand.side / 2))
        angle, scale = np.radians(stand.roll), stand.side / size
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = np.array([stand.x, stand.y]) - turn @ np.full(2, (size - 1) / 2)
        person = cut_out(sample_scene(seed, stand.index), size)
        points.append(place(photo, person, np.column_stack([turn, offset])))
    return photo, np.stack(points)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def main(out: Path, seed: int) -> None:
    """Write the photo to OUT, a JPEG, and its face points beside it as JSON."""
    photo, points = group_photo(seed)
    Image.fromarray(photo).save(out, quality=92)
    faces = [[[round(float(v), 1) for v in point] for point in face] for face in points]
    record = {"format": "refinestyle-landmarks", "version": 1, "photos": {out.name: faces}}
    out.with_suffix(".json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
