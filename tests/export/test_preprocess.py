"""The preprocessing graph against Pillow."""

import numpy as np
import onnxruntime
import pytest

from rs_export.graphs.preprocess import PreprocessRole
from rs_export.portable import finish

SIZE = 48
SIDES = [(1, 1), (48, 48), (47, 49), (301, 200), (77, 640), (13, 5), (96, 96), (500, 501)]


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    model = finish(PreprocessRole(SIZE).intermediate(), "preprocess")
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize("sides", SIDES)
def test_within_a_grey_level_of_pillow(session, sides: tuple[int, int]) -> None:
    photo = np.random.default_rng(sum(sides)).integers(0, 256, (*sides, 3), np.uint8)
    (found,) = session.run(None, {"photo": photo})
    expected = PreprocessRole(SIZE).reference({"photo": photo})["image"]
    assert found.shape == (1, SIZE, SIZE, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_photo_of_the_right_size_is_left_alone(session) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    (found,) = session.run(None, {"photo": photo})
    assert np.array_equal(found[0], photo)


def test_the_middle_square_is_kept(session) -> None:
    photo = np.zeros((SIZE, 3 * SIZE, 3), np.uint8)
    photo[:, SIZE : 2 * SIZE] = (10, 200, 60)
    (found,) = session.run(None, {"photo": photo})
    assert np.array_equal(np.unique(found.reshape(-1, 3), axis=0), [[10, 200, 60]])
