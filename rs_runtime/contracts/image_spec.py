"""The one set of rules by which pictures become numbers and numbers become pictures.

Pictures are sRGB uint8 [.., H, W, 3]; networks take and give float32 in [-1, 1] as [.., 3, H, W]:
in `x / 127.5 - 1`, out `round(clamp((x + 1) · 127.5, 0, 255))`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rs_runtime.contracts.errors import MalformedFileError, NumericsError, UsageError

CHANNELS = "RGB"
RANGE = (-1.0, 1.0)


@dataclass(frozen=True)
class ImageSpec:
    """Picture rules of a model.

    Attributes:
        size: Side in pixels of the pictures that the synthesis network gives.
        channels: Order of the colour channels, always `"RGB"`.
        range: Smallest and largest float, always (-1, 1).
    """

    size: int
    channels: str = CHANNELS
    range: tuple[float, float] = RANGE

    def __post_init__(self) -> None:
        """Refuses what no graph of this project computes.

        Raises:
            UsageError: A size that is not a power of two from 4, or other channels or range.
        """
        if type(self.size) is not int or self.size < 4 or self.size & (self.size - 1):
            raise UsageError(
                "size of the image spec", found=str(self.size), expected="a power of two from 4"
            )
        if self.channels != CHANNELS or tuple(self.range) != RANGE:
            raise UsageError(
                "image spec",
                found=f"{self.channels} in {self.range}",
                expected=f"{CHANNELS} in {RANGE}",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the rules as plain JSON values."""
        return {"channels": self.channels, "range": list(self.range), "size": self.size}

    @staticmethod
    def from_json(value: Any, where: str = "image spec") -> "ImageSpec":
        """Read what `to_json` returned.

        Args:
            value: Plain JSON values.
            where: Names the value in messages.

        Raises:
            MalformedFileError: Other fields, types or values.
        """
        if not isinstance(value, dict) or set(value) != {"channels", "range", "size"}:
            raise MalformedFileError(f"{where}: wrong fields", expected="channels, range, size")
        bounds = value["range"]
        if not isinstance(bounds, list) or any(isinstance(bound, bool) for bound in bounds):
            raise MalformedFileError(f"{where}: range is not a list of numbers")
        try:
            return ImageSpec(value["size"], value["channels"], tuple(bounds))
        except UsageError as error:
            raise MalformedFileError(
                f"{where}: {error.what}", found=error.found, expected=error.expected
            ) from error


def to_float(picture: np.ndarray) -> np.ndarray:
    """Turn a picture into a network input.

    Args:
        picture: uint8 [.., H, W, 3].

    Returns:
        float32 [.., 3, H, W] in [-1, 1].

    Raises:
        UsageError: Another dtype or shape.
    """
    if picture.dtype != np.uint8 or picture.ndim < 3 or picture.shape[-1] != 3:
        raise UsageError(
            "not a picture",
            found=f"{picture.dtype} {list(picture.shape)}",
            expected="uint8 [.., H, W, 3]",
        )
    return np.moveaxis(picture, -1, -3).astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Turn a network output into a picture.

    Args:
        image: Float [.., 3, H, W], unclamped.

    Returns:
        uint8 [.., H, W, 3], contiguous; halves round to even.

    Raises:
        UsageError: Another dtype or shape.
        NumericsError: NaN or infinity, which would silently become black or white.
    """
    if image.dtype.kind != "f" or image.ndim < 3 or image.shape[-3] != 3:
        raise UsageError(
            "not a network's image",
            found=f"{image.dtype} {list(image.shape)}",
            expected="float [.., 3, H, W]",
        )
    if not np.isfinite(image).all():
        raise NumericsError("the image has values that are NaN or infinite")
    scaled = (image.astype(np.float32) + np.float32(1)) * np.float32(127.5)
    pixels = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(pixels, -3, -1))
