"""How many faces are found in photos whose truth is known, and how exactly their points."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from rs_runtime.faces import Face
from rs_train.landmarks.composites import Example

_NEAR = 0.25  # a face is found if its centre is this near to the true one, in sides of the crop


@dataclass(frozen=True)
class Found:
    """Results over many photos.

    Attributes:
        detected: Share of the faces that were found.
        false: Faces found where there are none, per photo.
        error: Mean distance of the found faces' points from the true ones, in eye distances.
    """

    detected: float
    false: float
    error: float


def measure(find: Callable[[np.ndarray], list[Face]], examples: Iterable[Example]) -> Found:
    """Compares what `find` sees in photos uint8 [H, W, 3] with the truth.

    Args:
        find: Gives the faces of a photo.
        examples: At least one.
    """
    photos = faces = false = 0
    errors: list[float] = []
    for example in examples:
        found = find(example.picture)
        photos, faces = photos + 1, faces + len(example.points)
        for true in map(Face, example.points):
            near = [own for own in found if _is_found(own, true)]
            if near:
                best = min(near, key=lambda own: _distance(own, true))
                errors.append(_distance(best, true))
                found = [own for own in found if own is not best]
        false += len(found)
    return Found(
        detected=len(errors) / max(faces, 1),
        false=false / photos,
        error=float(np.mean(errors)) if errors else float("inf"),
    )


def _is_found(found: Face, true: Face) -> bool:
    between = np.hypot(*(found.square.centre - true.square.centre))
    return bool(between < _NEAR * true.square.side)


def _distance(found: Face, true: Face) -> float:
    """Mean over the points, in eye distances of the true face."""
    eyes = np.hypot(*(true.points[1] - true.points[0]))
    return float(np.hypot(*(found.points - true.points).T).mean() / eyes)
