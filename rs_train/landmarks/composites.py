"""Photos with known faces, made up anew for every index: people of rendered folders, composited.

Nobody, one or several persons stand at random places, sizes and angles before the background of
yet another scene, among shapes that are no faces; some turn a face without features to the viewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from rs_runtime.alignment import ffhq_square
from rs_runtime.image_io import load_picture
from rs_train.data import read_labels
from rs_train.pixels import from_levels
from rs_train.portraits import LANDMARK_NAMES, sample_scene
from rs_train.portraits.group import (
    FACE_POINTS,
    CutOut,
    backdrop,
    make_cut_out,
    place,
    read_masks,
)

MOST_FACES = 4
_LENGTH = 1 << 18  # different photos; an index is a seed
_BACKDROPS = 200
_CLOSE_SHARE = 0.35  # photos that a face fills, as when the network looks again


@dataclass(frozen=True)
class Example:
    """A photo and its faces.

    Attributes:
        picture: uint8 [S, S, 3]; the photo at the upper left, black where it does not reach.
        points: float32 [faces, 5, 2], (x, y) in pixels.
    """

    picture: np.ndarray
    points: np.ndarray


class Composites:
    """Random photos with the people of rendered folders."""

    def __init__(self, folders: Sequence[Path], size: int, seed: int = 0) -> None:
        """Read the people.

        Args:
            folders: Written by `rs-train render --masks`.
            size: Side of the photos.
            seed: Other seeds give other photos for the same index.

        Raises:
            UsageError: A folder lacks labels.jsonl or masks.
            MalformedFileError: A picture or label is damaged.
        """
        self.size = size
        self._seed = seed
        self._people = [person for folder in folders for person in _read_people(Path(folder))]
        self._backdrops = [
            backdrop(sample_scene(seed + 90_001, index), 3 * size // 2)
            for index in range(_BACKDROPS)
        ]

    def __len__(self) -> int:
        """Number of different photos."""
        return _LENGTH

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Photos as {"image": [N, 3, S, S] in [-1, 1], "points": [N, 4, 5, 2], NaN if fewer}."""
        points = np.full((len(indices), MOST_FACES, FACE_POINTS, 2), np.nan, np.float32)
        pictures = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        for row, index in enumerate(indices):
            example = self.example(index)
            pictures[row] = example.picture
            points[row, : len(example.points)] = example.points
        image = from_levels(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        return {"image": image, "points": torch.from_numpy(points)}

    def example(self, index: int) -> Example:
        """The photo of one index; equal indices give equal photos."""
        rng = np.random.default_rng((self._seed, index))
        shape = _photo_shape(rng, self.size)
        photo = self._background(rng, shape)
        faces = []
        for matrix, person in self._crowd(rng, shape):
            is_blank = rng.random() < 0.08
            points = place(photo, _without_features(person) if is_blank else person, matrix)
            if not is_blank:
                faces.append(points)
        picture = np.zeros((self.size, self.size, 3), np.uint8)
        picture[: shape[0], : shape[1]] = _developed(rng, photo)
        return Example(picture, np.reshape(np.asarray(faces, np.float32), (-1, FACE_POINTS, 2)))

    def _background(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        whole = self._backdrops[rng.integers(len(self._backdrops))]
        top, left = (int(rng.integers(len(whole) - side + 1)) for side in shape)
        photo = whole[top : top + shape[0], left : left + shape[1]].copy()
        for _ in range(int(rng.integers(9)) if rng.random() < 0.6 else 0):
            _draw_shape(rng, photo)
        return photo

    def _crowd(
        self, rng: np.random.Generator, shape: tuple[int, int]
    ) -> list[tuple[np.ndarray, CutOut]]:
        """Who stands where, those at the back first; no face hides another."""
        standing: list[tuple[np.ndarray, CutOut, np.ndarray, float]] = []
        is_close = rng.random() < _CLOSE_SHARE
        wanted = 1 if is_close else int(rng.choice(MOST_FACES + 1, p=(0.14, 0.44, 0.2, 0.12, 0.1)))
        for _ in range(4 * wanted):
            if len(standing) == wanted:
                break
            person = self._people[rng.integers(len(self._people))]
            matrix = _pose(rng, person, shape, is_close=is_close)
            points = person.points @ matrix[:, :2].T + matrix[:, 2]
            square = ffhq_square(points)
            is_inside = (points > 1).all() and (points < np.array(shape[::-1]) - 2).all()
            is_free = all(
                np.hypot(*(square.centre - centre)) > 0.5 * (square.side + side)
                for _, _, centre, side in standing
            )
            if is_inside and is_free:
                standing.append((matrix, person, square.centre, square.side))
        standing.sort(key=lambda own: own[2][1])
        return [(matrix, person) for matrix, person, _, _ in standing]


def _read_people(folder: Path) -> list[CutOut]:
    people = []
    for row in read_labels(folder):
        points = np.array([row["landmarks"][name] for name in LANDMARK_NAMES[:FACE_POINTS]])
        picture = load_picture(folder / row["file"])
        people.append(make_cut_out(picture, *read_masks(folder, row["file"]), points))
    return people


def _photo_shape(rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Height and width; the longer one is `size`."""
    shorter = size if rng.random() < 0.3 else int(rng.uniform(0.5, 1.0) * size)
    return (size, shorter) if rng.random() < 0.5 else (shorter, size)


def _pose(
    rng: np.random.Generator, person: CutOut, shape: tuple[int, int], *, is_close: bool
) -> np.ndarray:
    """A map from a cut-out's pixels to the photo's: where, how large, at which angle."""
    height, width = shape
    square = ffhq_square(person.points)
    if is_close:
        side = rng.uniform(0.42, 0.8) * min(shape)
        where = np.array([width, height]) * rng.uniform(0.36, 0.64, 2)
    else:
        side = max(shape) * float(np.exp(rng.uniform(np.log(0.13), np.log(1.25))))
        where = np.array([width, height]) * rng.uniform(0.0, 1.0, 2)
    angle = rng.uniform(-0.7, 0.7) if rng.random() < 0.4 else rng.normal(0, 0.15)
    scale = side / square.side
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, where - turn @ square.centre])


def _without_features(person: CutOut) -> CutOut:
    """The person with an even patch of skin where the face is."""
    layer = person.layer.copy()
    if person.face.any():
        layer[person.face] = person.layer[person.face].mean(axis=0)
    return CutOut(layer, person.points, person.face)


def _draw_shape(rng: np.random.Generator, photo: np.ndarray) -> None:
    colour = tuple(int(level) for level in rng.integers(0, 256, 3))
    x, y, dx, dy = (int(v) for v in rng.integers(0, max(photo.shape), 4))
    kind = rng.integers(3)
    if kind == 0:
        cv2.ellipse(photo, (x, y), (1 + dx // 4, 1 + dy // 3), dx, 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 1:
        cv2.rectangle(photo, (x, y), (x + dx // 2, y + dy // 2), colour, -1)
    else:
        cv2.line(photo, (x, y), (dx, dy), colour, int(rng.integers(1, 8)), cv2.LINE_AA)


def _developed(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """The photo as one of many cameras would have given it."""
    levels = photo.astype(np.float32)
    if rng.random() < 0.1:
        levels[:] = levels.mean(axis=2, keepdims=True)
    if rng.random() < 0.2:
        levels = cv2.GaussianBlur(levels, (0, 0), rng.uniform(0.4, 1.3))
    levels = (levels - 128) * rng.uniform(0.7, 1.2) + 128 * rng.uniform(0.75, 1.2)
    levels *= rng.uniform(0.88, 1.12, 3).astype(np.float32)
    if rng.random() < 0.5:
        levels += np.float32(rng.uniform(1, 8)) * rng.standard_normal(levels.shape, np.float32)
    return np.clip(levels, 0, 255).astype(np.uint8)
