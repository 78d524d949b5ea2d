"""Where the points of faces come from: the bundle's own graph, a YuNet detector, or a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.contracts.fields import check_list, check_mapping, check_object
from rs_runtime.contracts.files import read_file
from rs_runtime.contracts.strict_json import parse_json
from rs_runtime.faces import POINTS, Face, faces_of_grid, look_twice
from rs_runtime.roles import RoleRunner

BUNDLE = "bundle"
LANDMARKS_FORMAT = "refinestyle-landmarks"
LANDMARKS_VERSION = 1
ROLE = "landmarks"
_YUNET_SURE = 0.7
_YUNET_OVERLAP = 0.3
_YUNET_SIDE = 640  # the longer side of what YuNet sees; it was made for faces of 10 to 300 pixels
_MAX_DETECTOR_BYTES = 100_000_000
_MAX_JSON_BYTES = 16_000_000
_MAX_FACES = 1000
_FARTHEST = 1e6


class FaceFinder(Protocol):
    """Finds the faces of photos."""

    def find(self, photo: NDArray[np.uint8], name: str) -> list[Face]:
        """The faces of a photo uint8 [H, W, 3], from left to right; `name` is that of its file."""


def open_finder(source: str | os.PathLike[str], roles: RoleRunner) -> FaceFinder:
    """Opens what an option `--align` names.

    Args:
        source: "bundle", a YuNet detector's `.onnx`, or a `.json` of points.
        roles: Runs the bundle's graphs.

    Raises:
        UsageError: None of these, or no such file.
        MalformedFileError: A damaged file.
        IncompatibleError: A bundle without a landmarks graph.
    """
    text = os.fspath(source)
    if text == BUNDLE:
        return BundleFinder(roles)
    suffix = Path(text).suffix.lower()
    if suffix == ".onnx":
        return YuNetFinder(text)
    if suffix == ".json":
        return LandmarkFile(text)
    raise UsageError(
        f"no way to find faces: {text}",
        expected=f"{BUNDLE}, a YuNet detector's .onnx, or a .json of points",
    )


class BundleFinder:
    """The bundle's role `landmarks`: a grid of cells, each with a score and five points."""

    def __init__(self, roles: RoleRunner) -> None:
        """Checks that the bundle has the role.

        Raises:
            IncompatibleError: It has not.
        """
        if not roles.has(ROLE):
            raise IncompatibleError(
                "the bundle cannot find faces: it has no landmarks graph",
                hint="give --align a YuNet detector's .onnx or a .json of points",
            )
        self._roles = roles

    def find(self, photo: NDArray[np.uint8], name: str) -> list[Face]:
        """Looks at the whole photo, then again at each face."""
        return look_twice(self._detect, photo)

    def _detect(self, photo: NDArray[np.uint8]) -> list[Face]:
        found = self._roles.run(ROLE, photo=photo)
        return faces_of_grid(found["score"], found["points"])


class YuNetFinder:
    """A YuNet detector (Wu et al., 2023), as OpenCV's model zoo has them, run by OpenCV."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads the detector.

        Raises:
            UsageError: No such file.
            MalformedFileError: OpenCV cannot read it.
        """
        self._name = os.fspath(path)
        data = read_file(path, max_bytes=_MAX_DETECTOR_BYTES, what="face detector")
        try:
            self._detector = cv2.FaceDetectorYN.create(
                "onnx", np.frombuffer(data, np.uint8), np.empty(0, np.uint8), (320, 320)
            )
        except cv2.error as error:
            raise self._refusal(error) from error
        self._detector.setScoreThreshold(_YUNET_SURE)
        self._detector.setNMSThreshold(_YUNET_OVERLAP)

    def find(self, photo: NDArray[np.uint8], name: str) -> list[Face]:
        """Looks at the whole photo, then again at each face."""
        return look_twice(self._detect, photo)

    def _detect(self, photo: NDArray[np.uint8]) -> list[Face]:
        height, width = photo.shape[:2]
        shrink = min(1.0, _YUNET_SIDE / max(height, width))
        shape = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        small = cv2.resize(photo, shape, interpolation=cv2.INTER_AREA)
        self._detector.setInputSize(shape)
        try:
            _, rows = self._detector.detect(small[..., ::-1].copy())
        except cv2.error as error:
            raise self._refusal(error) from error
        scale = np.array([width / shape[0], height / shape[1]], np.float32)
        # A row: box, eyes, nose tip, mouth corners (the picture's left first), score.
        return [
            Face((row[4:14].reshape(POINTS, 2) + 0.5) * scale - 0.5, float(row[14]))
            for row in (() if rows is None else rows)
            if np.isfinite(row).all()
        ]

    def _refusal(self, error: cv2.error) -> MalformedFileError:
        return MalformedFileError(
            f"{self._name}: OpenCV cannot run this as a face detector",
            found=" ".join(str(error.err or error).split())[:200],
            expected="a YuNet model such as face_detection_yunet_2023mar.onnx",
        )


class LandmarkFile:
    """Points that somebody else found, by the names of the photos' files."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads the file.

        Raises:
            UsageError: No such file.
            MalformedFileError: Damaged, or other fields than the format has.
            UnsafeFileError: Too large.
            IncompatibleError: A newer version.
        """
        self._name = os.fspath(path)
        data = read_file(path, max_bytes=_MAX_JSON_BYTES, what="file of face points")
        self._faces = read_landmarks(data, self._name)

    def find(self, photo: NDArray[np.uint8], name: str) -> list[Face]:
        """The faces that the file lists for a photo of this name.

        Raises:
            UsageError: It does not list the photo.
        """
        if name not in self._faces:
            raise UsageError(
                f"{self._name} says nothing of this photo",
                found=", ".join(list(self._faces)[:5]) or "no photos",
                expected=name,
            )
        return self._faces[name]


def read_landmarks(data: bytes, what: str) -> dict[str, list[Face]]:
    """Reads the JSON of a `LandmarkFile`.

    Args:
        data: `{"format": "refinestyle-landmarks", "version": 1, "photos": {NAME: [FACE, ...]}}`,
            a FACE being five pairs [x, y].
        what: The file's name for messages.

    Returns:
        The faces of each photo, from left to right.

    Raises:
        MalformedFileError: Other fields, types or numbers.
        IncompatibleError: A newer version.
    """
    value = check_object(parse_json(data, what), what, ("format", "version", "photos"))
    if value["format"] != LANDMARKS_FORMAT:
        raise MalformedFileError(
            f"{what}: not a file of face points",
            found=repr(value["format"])[:60],
            expected=LANDMARKS_FORMAT,
        )
    if value["version"] != LANDMARKS_VERSION:
        raise IncompatibleError(
            f"{what}: another version",
            found=repr(value["version"])[:20],
            expected=str(LANDMARKS_VERSION),
        )
    return {name: _faces(own, f"{what}: {name}") for name, own in _photos(value, what).items()}


def _photos(value: dict[str, Any], what: str) -> dict[str, Any]:
    return check_mapping(value["photos"], f"{what}: photos")


def _faces(value: Any, where: str) -> list[Face]:
    faces = check_list(value, where)
    if len(faces) > _MAX_FACES:
        raise MalformedFileError(
            f"{where}: too many faces", found=str(len(faces)), expected=f"at most {_MAX_FACES}"
        )
    found = [Face(_points(own, f"{where}: face {n}")) for n, own in enumerate(faces, 1)]
    return sorted(found, key=lambda own: tuple(own.square.centre))


def _points(value: Any, where: str) -> NDArray[np.float32]:
    is_sound = (
        isinstance(value, list)
        and len(value) == POINTS
        and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
        and all(type(x) in (int, float) and abs(x) <= _FARTHEST for pair in value for x in pair)
    )
    if not is_sound:
        raise MalformedFileError(
            f"{where}: not the points of a face",
            expected="five pairs [x, y] in pixels: eyes, nose tip, mouth corners; left first",
        )
    return np.array(value, np.float32)
