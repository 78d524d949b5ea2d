"""Pictures: determinism, truth, and the look of each domain."""

import cv2
import numpy as np
import pytest

from rs_runtime.contracts.errors import UsageError
from rs_train.portraits import DOMAINS, LANDMARK_NAMES, MASK_NAMES, render, sample_scene
from rs_train.portraits.scene import EXTRAS, Scene

SIZE = 64


def _saturation(picture: np.ndarray) -> float:
    return float(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1].mean()) / 255


def _mean_pictures(domain: str, count: int = 5) -> np.ndarray:
    return np.stack([render(sample_scene(5, i), SIZE, domain).image for i in range(count)])


@pytest.fixture(scope="module")
def looks() -> dict[str, np.ndarray]:
    """Five pictures of each domain, uint8 [5, S, S, 3]."""
    return {domain: _mean_pictures(domain) for domain in DOMAINS}


def test_a_picture_depends_on_its_scene_alone() -> None:
    first = render(sample_scene(5, 3), SIZE, "oil")
    render(sample_scene(5, 9), SIZE)
    again = render(sample_scene(5, 3), SIZE, "oil")
    assert np.array_equal(first.image, again.image)
    assert all(np.array_equal(first.masks[name], again.masks[name]) for name in MASK_NAMES)


@pytest.mark.parametrize("domain", ["photo", "sketch", "oil"])
def test_a_picture_is_the_same_at_every_size(domain: str) -> None:
    scene = sample_scene(5, 4)
    large = render(scene, 128, domain)
    small = render(scene, 64, domain)
    shrunk = cv2.resize(large.image, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small.image).mean() < 8
    np.testing.assert_allclose((large.landmarks + 0.5) / 2, small.landmarks + 0.5, atol=1e-3)


@pytest.mark.parametrize("size", [32, 65, 200])
def test_any_size_renders(size: int) -> None:
    picture = render(sample_scene(5, 1), size)
    assert picture.image.shape == (size, size, 3)
    assert picture.image.dtype == np.uint8
    assert picture.image.std() > 10


def _mask_at(mask: np.ndarray, point: np.ndarray) -> bool:
    column, row = np.rint(point).astype(int)
    return bool(mask[row, column])


def test_landmarks_lie_on_what_they_name() -> None:
    for index in range(16):
        scene = sample_scene(5, index)
        if scene.glasses or scene.hair == "fringe" or scene["eyes_closed"] > 0.2:
            continue  # rims and fringes may cover the points
        picture = render(scene, 128)
        points = dict(zip(LANDMARK_NAMES, picture.landmarks, strict=True))
        assert picture.landmarks.min() > 0
        assert picture.landmarks.max() < 127
        for name, point in points.items():
            assert _mask_at(picture.masks["face"], point), (index, name)
        for name in ("left eye", "right eye"):
            assert _mask_at(picture.masks["eyes"], points[name]), (index, name)
        rows, columns = np.nonzero(picture.masks["lips"])
        for name, column in (
            ("left mouth corner", columns.min()),
            ("right mouth corner", columns.max()),
        ):
            assert abs(points[name][0] - column) < 6, (index, name)
            assert rows.min() - 6 < points[name][1] < rows.max() + 6, (index, name)


def test_features_move_with_yaw() -> None:
    scene = sample_scene(5, 1)

    def turned(yaw: float) -> np.ndarray:
        values = {**scene.values, "yaw": yaw, "roll": 0.0}
        points = render(Scene(**{**vars(scene), "values": values}), SIZE).landmarks
        eyes = points[:2, 0].mean()
        return np.array([points[2, 0] - eyes, points[1, 0] - points[0, 0]])

    left, straight, right = turned(-0.3), turned(0.0), turned(0.3)
    assert left[0] < straight[0] < right[0]  # the nose leads
    assert max(left[1], right[1]) < straight[1]  # the eyes draw closer


def test_masks_cover_the_frame_once() -> None:
    picture = render(sample_scene(5, 2, extras=True), 128)
    assert tuple(picture.masks) == MASK_NAMES
    parts = [picture.masks[n] for n in ("background", "clothes", "skin", "hair", "glasses")]
    count = np.sum([*parts, picture.masks["extras"]], axis=0)
    assert count.max() == 1
    assert (count == 1).mean() > 0.97  # pixels that several parts share evenly belong to none
    assert not (picture.masks["face"] & ~picture.masks["skin"]).any()
    assert not (picture.masks["eyes"] & ~picture.masks["face"]).any()


def test_masks_are_the_same_in_every_domain() -> None:
    scene = sample_scene(5, 6)
    photo = render(scene, SIZE)
    for domain in ("sketch", "cartoon", "oil"):
        other = render(scene, SIZE, domain)
        assert all(np.array_equal(photo.masks[n], other.masks[n]) for n in MASK_NAMES)
        assert np.array_equal(photo.landmarks, other.landmarks)


def test_every_domain_has_a_look_of_its_own(looks: dict[str, np.ndarray]) -> None:
    names = list(looks)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            difference = np.abs(looks[first].astype(int) - looks[second]).mean()
            assert difference > 6, (first, second)


def test_looks(looks: dict[str, np.ndarray]) -> None:
    saturation = {name: np.mean([_saturation(p) for p in looks[name]]) for name in looks}
    assert saturation["sketch"] < 0.15 < saturation["photo"]
    assert saturation["charcoal"] < 0.15
    assert saturation["cartoon"] > 1.1 * saturation["photo"]
    sketch = looks["sketch"].mean(axis=-1)
    assert 0.25 * 255 < sketch.mean() < 0.78 * 255  # paper with tone, not mostly white
    assert (sketch > 240).mean() < 0.02
    warmth = {n: looks[n][..., 0].mean() - looks[n][..., 2].mean() for n in ("photo", "oil")}
    assert warmth["oil"] > warmth["photo"] + 10


def test_cartoons_are_inked_around_the_face() -> None:
    scene = sample_scene(5, 1)
    photo, cartoon = render(scene, 128), render(scene, 128, "cartoon")
    face = photo.masks["face"].astype(np.uint8)
    rim = cv2.morphologyEx(face, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    assert cartoon.image[rim].mean() < 0.8 * photo.image[rim].mean()
    assert cartoon.image.mean() > photo.image.mean()  # the colours themselves are brighter


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_shows(extra: str) -> None:
    plain = sample_scene(5, 11)
    extended = Scene(**{**vars(plain), "extras": (extra,)})
    before, after = render(plain, SIZE), render(extended, SIZE)
    assert not before.masks["extras"].any()
    changed = np.abs(before.image.astype(int) - after.image).max(axis=-1) > 24
    assert 0.01 < changed.mean() < 0.6
    if extra != "face paint":  # which belongs to the skin
        assert after.masks["extras"].mean() > 0.01
        assert (changed & after.masks["extras"]).sum() > 0.4 * changed.sum()


def test_an_unknown_domain_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="sketch"):
        render(sample_scene(5, 0), SIZE, "mosaic")
