"""Image rules: exact numbers at the ends, every grey level comes back, bad input is refused."""

import numpy as np
import pytest

from rs_runtime.contracts.errors import MalformedFileError, NumericsError, UsageError
from rs_runtime.contracts.image_spec import ImageSpec, to_float, to_uint8


def test_every_level_comes_back() -> None:
    picture = np.arange(768, dtype=np.uint8).reshape(16, 16, 3)
    image = to_float(picture)
    assert (image.dtype, image.shape) == (np.float32, (3, 16, 16))
    assert (image.min(), image.max()) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(image), picture)


def test_layout_and_batches() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    image = to_float(picture)
    assert image.shape == (2, 3, 4, 6)
    assert image[1, 2, 3, 5] == np.float32(picture[1, 3, 5, 2]) / np.float32(127.5) - 1
    back = to_uint8(image)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, picture)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (-1.5, 0),
        (-1.0, 0),
        (1.0, 255),
        (9.0, 255),
        (0.0, 128),  # 127.5 rounds to even
        (0.5 / 127.5 - 1, 0),  # so does 0.5
        (0.51 / 127.5 - 1, 1),
        (1.0 - 0.4 / 127.5, 255),
    ],
)
def test_rounding(value: float, level: int) -> None:
    image = np.full((3, 1, 1), value, np.float64)
    assert to_uint8(image).tolist() == [[[level] * 3]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_never_becomes_a_picture(value: float) -> None:
    image = np.zeros((3, 2, 2), np.float32)
    image[1, 1, 1] = value
    with pytest.raises(NumericsError):
        to_uint8(image)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
    ],
)
def test_to_float_refuses(picture: np.ndarray) -> None:
    with pytest.raises(UsageError, match="not a picture"):
        to_float(picture)


@pytest.mark.parametrize(
    "image", [np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4, 3), "f4"), np.zeros((3, 4), "f4")]
)
def test_to_uint8_refuses(image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="not a network's image"):
        to_uint8(image)


def test_spec_round_trip() -> None:
    spec = ImageSpec(128)
    assert ImageSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 100},
        {"size": 2},
        {"size": -4},
        {"size": 128.0},
        {"size": True},
        {"size": "128"},
        {"channels": "BGR"},
        {"channels": None},
        {"range": [0, 1]},
        {"range": [-1]},
        {"range": "ab"},
        {"range": [-1, None]},
        {"more": 1},
    ],
)
def test_spec_refuses(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedFileError, match="image spec"):
        ImageSpec.from_json(ImageSpec(128).to_json() | changes)
