"""Options of verbs that look for faces in photos."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from rs_runtime.contracts.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rs_runtime.face_finders import FaceFinder
    from rs_runtime.faces import FaceCrop
    from rs_runtime.pipeline import Runtime

_ALL = "all"


@dataclass(frozen=True)
class FaceOptions:
    """How a command crops photos to faces.

    Attributes:
        align: What finds the faces; None for the photo's middle square.
        face: A number from the left, "all", or None for the largest.
        paste_back: Blend the results into the whole photo.
    """

    align: str | None
    face: int | str | None
    paste_back: bool

    def open(self, runtime: Runtime) -> FaceFinder | None:
        """Opens what finds the faces, so that a bad file ends the command before any work."""
        return None if self.align is None else runtime.face_finder(self.align)

    def crops(
        self, runtime: Runtime, finder: FaceFinder | None, photo: NDArray[np.uint8], name: str
    ) -> NDArray[np.uint8] | FaceCrop | list[FaceCrop]:
        """What is to be inverted: the photo itself, one face, or the list of all."""
        if finder is None:
            return photo
        crops = runtime.find_faces(photo, finder, self.face, name=name)
        return crops if self.face == _ALL else crops[0]


def face_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of ``FaceOptions``; the command takes them as its argument `faces`."""

    @functools.wraps(command)
    def with_faces(align: str | None, face: str | None, paste_back: bool, **others: Any) -> Any:
        return command(faces=_checked(align, face, paste_back), **others)

    for option in reversed(
        (
            click.option(
                "--align",
                metavar="bundle|FILE",
                help="Crop to the face, found by the bundle's own graph, a YuNet detector's .onnx "
                "or a .json of points.  [default: the middle square]",
            ),
            click.option(
                "--face",
                metavar="N|all",
                help="Which of several faces, from the left.  [default: the largest]",
            ),
            click.option(
                "--paste-back", is_flag=True, help="Blend the result into the whole photo."
            ),
        )
    ):
        with_faces = option(with_faces)
    return with_faces


def _checked(align: str | None, face: str | None, paste_back: bool) -> FaceOptions:
    given = {"--face": face is not None, "--paste-back": paste_back}
    for name, is_given in given.items():
        if align is None and is_given:
            raise UsageError(
                f"{name} is for photos that are cropped to a face", hint="add --align bundle"
            )
    if face is None or face == _ALL:
        if face == _ALL and not paste_back:
            raise UsageError("--face all has one result a photo", hint="add --paste-back")
        return FaceOptions(align, face, paste_back)
    if not face.isascii() or not face.isdigit() or int(face) == 0:
        raise UsageError(f"--face {face}", expected="a number from 1, or all")
    return FaceOptions(align, int(face), paste_back)
