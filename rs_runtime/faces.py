"""Faces in photos: five points each, which of several to take, and what may be wrong with one.

Points are left eye, right eye, nose tip, left and right mouth corner, (x, y) in pixels of the
photo, the centre of whose first pixel is (0, 0); left and right are the picture's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rs_runtime.alignment import Square, ffhq_square
from rs_runtime.contracts.errors import UsageError

POINTS = 5
ALL = "all"
MIN_SIDE = 24.0  # pixels of the photo across a crop; below, nobody can be recognised
_SURE = 0.5  # least score of a cell that holds a face
_SMALL = 0.5  # of the model's own size: a crop below it is said to be small
_CUT = 0.75  # share of a crop inside the photo; below it, the face is said to be cut off
_LEAST_INSIDE = 0.3  # below this share it is refused
_SAME = 0.35  # faces whose centres are nearer, in sides of the larger crop, are one
_REGION = 1.6  # side of what a second look sees, in sides of the crop
_ALIKE = 1.6  # largest ratio of the sides that two looks may give one face


class FaceWarning(UserWarning):
    """Something that makes a face's result worse or another than the user may expect."""


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        points: float32 [5, 2].
        score: How sure its finder is, 0 to 1.
    """

    points: NDArray[np.float32]
    score: float = 1.0

    @cached_property
    def square(self) -> Square:
        """Its crop."""
        return ffhq_square(self.points)


@dataclass(frozen=True)
class FaceCrop:
    """A face that is to be inverted, with the way back into its photo.

    Attributes:
        photo: uint8 [H, W, 3].
        face: Where it is.
        notes: What the user should know of it, a sentence each.
    """

    photo: NDArray[np.uint8]
    face: Face
    notes: tuple[str, ...] = ()

    def picture(self, size: int) -> NDArray[np.uint8]:
        """The crop, uint8 [size, size, 3]."""
        return self.face.square.crop(self.photo, size)

    def paste(
        self, picture: NDArray[np.uint8], onto: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """The photo, uint8 [H, W, 3], with a picture [P, P, 3] of the crop blended into it.

        Args:
            picture: What the crop became.
            onto: Blend into this version of the photo instead.
        """
        return self.face.square.paste(self.photo if onto is None else onto, picture)


Detect = Callable[[NDArray[np.uint8]], list[Face]]


def distinct(faces: Iterable[Face]) -> list[Face]:
    """Of faces at nearly the same place keeps the surest; the result runs from left to right."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda own: -own.score):
        if not any(_is_same(face, other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda own: tuple(own.square.centre))


def faces_of_grid(score: NDArray[np.float32], points: NDArray[np.float32]) -> list[Face]:
    """The distinct faces of a grid: score [G] in 0 to 1, points [G, 5, 2] in pixels."""
    cells = np.flatnonzero(score >= _SURE)
    return distinct(Face(points[cell], float(score[cell])) for cell in cells)


def look_twice(detect: Detect, photo: NDArray[np.uint8]) -> list[Face]:
    """Finds faces in a whole photo, then their points again in a cut-out around each.

    A detector sees a photo at a fixed small size, which suffices to find a face that is a small
    part of it, not to say where its eyes are.

    Args:
        detect: Finds the faces of a picture.
        photo: uint8 [H, W, 3].

    Returns:
        Faces from left to right; one that the second look misses keeps the points of the first.
    """
    return distinct(_again(detect, photo, face) for face in distinct(detect(photo)))


def choose_faces(
    faces: Sequence[Face],
    photo: NDArray[np.uint8],
    name: str,
    wanted: int | str | None,
    size: int,
) -> list[FaceCrop]:
    """The faces to invert.

    Args:
        faces: All faces of the photo, from left to right.
        photo: uint8 [H, W, 3].
        name: The photo's, for messages.
        wanted: A number from 1, counted from the left; "all"; the largest face when None.
        size: Side of the crop that the model takes, for what is said of small faces.

    Raises:
        UsageError: There is no face, none of that number, or one that is too small or cut off;
            of all faces, those that are too small or cut off are left out while any is left.
    """
    if not faces:
        raise UsageError(
            f"{name}: no face was found",
            expected="a face that looks towards the camera",
            hint="give its points with --align FILE.json, or leave --align away for a crop",
        )
    if wanted == ALL:
        return _usable(faces, photo, name, size)
    if wanted is None:
        number = max(range(len(faces)), key=lambda n: faces[n].square.side) + 1
    elif isinstance(wanted, int) and 1 <= wanted <= len(faces):
        number = wanted
    else:
        raise UsageError(
            f"{name}: there is no face {wanted}",
            found=f"{len(faces)} in the photo, numbered from the left",
            expected=f"1 to {len(faces)}, or {ALL}",
        )
    notes = _checked(faces[number - 1], photo, name, size)
    if wanted is None and len(faces) > 1:
        notes = (f"{len(faces)} faces; the largest is taken, number {number} from the left", *notes)
    return [FaceCrop(photo, faces[number - 1], notes)]


def _usable(
    faces: Sequence[Face], photo: NDArray[np.uint8], name: str, size: int
) -> list[FaceCrop]:
    crops: list[FaceCrop] = []
    refused: list[str] = []
    for number, face in enumerate(faces, 1):
        try:
            notes = tuple(f"face {number}: {note}" for note in _checked(face, photo, name, size))
            crops.append(FaceCrop(photo, face, notes))
        except UsageError as error:
            if len(faces) == 1:
                raise
            refused.append(f"face {number} is left out: {error.what.removeprefix(f'{name}: ')}")
    if not crops:
        raise UsageError(f"{name}: no face can be used", found="; ".join(refused))
    first = crops[0]
    crops[0] = FaceCrop(photo, first.face, (*refused, *first.notes))
    return crops


def _checked(face: Face, photo: NDArray[np.uint8], name: str, size: int) -> tuple[str, ...]:
    """What is to be said of a face.

    Raises:
        UsageError: It is too small or cut off.
    """
    height, width = photo.shape[:2]
    side = face.square.side
    if not side >= MIN_SIDE:  # NaN fails
        raise UsageError(
            f"{name}: the face is too small",
            found=f"a crop of {side:.0f} pixels across",
            expected=f"at least {MIN_SIDE:.0f}",
        )
    is_outside = (face.points < -0.5).any() or (face.points > np.array([width, height]) - 0.5).any()
    share = face.square.share_inside(height, width)
    if is_outside or share < _LEAST_INSIDE:
        raise UsageError(
            f"{name}: the face is cut off",
            found="eyes, nose or mouth outside the photo"
            if is_outside
            else f"{share:.0%} of its crop inside the photo",
            expected=f"the whole face and at least {_LEAST_INSIDE:.0%} of its crop",
        )
    notes = []
    if side < _SMALL * size:
        notes.append(f"the face is small: {side:.0f} pixels across for a model of {size}")
    if share < _CUT:
        notes.append(f"the head is cut off: {1 - share:.0%} of its crop is mirrored")
    return tuple(notes)


def _is_same(face: Face, other: Face) -> bool:
    largest = max(face.square.side, other.square.side)
    return float(np.hypot(*(face.square.centre - other.square.centre))) < _SAME * largest


def _again(detect: Detect, photo: NDArray[np.uint8], face: Face) -> Face:
    """The face as a second look finds it, or as it is."""
    reach = 0.5 * _REGION * face.square.side
    limits = photo.shape[1::-1]
    low = [max(0, int(c - reach)) for c in face.square.centre]
    high = [min(n, int(c + reach) + 1) for c, n in zip(face.square.centre, limits, strict=True)]
    if low[0] >= high[0] or low[1] >= high[1]:
        return face
    region = np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]])
    offset = np.array(low, np.float32)
    found = [Face(own.points + offset, max(own.score, face.score)) for own in detect(region)]
    alike = [own for own in found if _is_same(own, face) and _is_alike(own, face)]
    return min(
        alike,
        key=lambda own: float(np.hypot(*(own.square.centre - face.square.centre))),
        default=face,
    )


def _is_alike(face: Face, other: Face) -> bool:
    ratio = face.square.side / max(other.square.side, 1e-9)
    return 1 / _ALIKE < ratio < _ALIKE
