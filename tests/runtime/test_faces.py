"""Faces: oriented crops and their way back, which face is taken, and where points come from."""

import json
from pathlib import Path

import numpy as np
import pytest

import rs_runtime
from rs_runtime.alignment import ffhq_square
from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.face_finders import YuNetFinder, open_finder, read_landmarks
from rs_runtime.faces import Face, FaceWarning, choose_faces, distinct, faces_of_grid, look_twice
from tests.runtime.tiny_bundle import build
from tests.runtime.yunet_like import POINTS, detector

# Eye distance 20, eyes to mouth 24: a crop of side 2 * max(40, 43.2), centred 2.4 below the eyes.
UPRIGHT = np.array([[-10, 0], [10, 0], [0, 12], [-7, 24], [7, 24]], np.float32)


def face(x: float, y: float, scale: float = 1.0, angle: float = 0.0) -> Face:
    """A face whose eyes' middle is at (x, y)."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face((scale * UPRIGHT @ turn.T + (x, y)).astype(np.float32), 0.9)


def photo(height: int = 240, width: int = 320) -> np.ndarray:
    """Smooth, with another colour everywhere."""
    y, x = np.mgrid[:height, :width]
    levels = [255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 40) * np.cos(y / 30)]
    return np.stack(levels, axis=2).astype(np.uint8)


def record(**photos: list) -> bytes:
    value = {"format": "refinestyle-landmarks", "version": 1, "photos": photos}
    return json.dumps(value).encode()


class TestSquare:
    def test_the_rule(self):
        square = ffhq_square(UPRIGHT)
        assert square.side == pytest.approx(86.4)
        assert square.centre.tolist() == pytest.approx([0, 2.4])
        assert square.half.tolist() == pytest.approx([43.2, 0])
        wide = UPRIGHT * (1.5, 1)  # the eyes are further apart than the mouth is away
        assert ffhq_square(wide).side == pytest.approx(120)

    @pytest.mark.parametrize("angle", [0.3, -1.2, 3.0])
    def test_it_turns_and_grows_with_the_face(self, angle: float):
        square = face(50, 70, 1.7, angle).square
        assert square.side == pytest.approx(1.7 * 86.4, rel=1e-4)
        assert np.arctan2(*square.half[::-1]) == pytest.approx(angle, abs=1e-4)

    def test_a_crop_shows_what_lies_there(self):
        square = face(150, 100, 1.0, 0.4).square
        found = square.crop(photo(), 64)
        matrix = square.to_photo(64)
        for u, v in ((0, 0), (20, 40), (63, 63)):
            x, y = matrix @ (u, v, 1)
            assert np.abs(photo()[round(y), round(x)].astype(int) - found[v, u]).max() <= 6

    def test_a_large_face_is_shrunk_without_aliasing(self):
        stripes = np.zeros((900, 900, 3), np.uint8)
        stripes[:, ::2] = 255
        found = face(450, 400, 7.0, 0.2).square.crop(stripes, 64)
        assert found.std() < 12 and abs(found.mean() - 127.5) < 3

    def test_beyond_its_edges_the_photo_is_mirrored(self):
        found = face(12, 20).square.crop(np.full((240, 320, 3), 200, np.uint8), 64)
        assert (found == 200).all()

    @pytest.mark.parametrize("size", [16, 86, 400])
    @pytest.mark.parametrize(("x", "y"), [(150, 100), (4, 230)])
    def test_what_is_cut_out_fits_back(self, size: int, x: float, y: float):
        square, before = face(x, y, 1.0, 0.5).square, photo()
        after = square.paste(before, square.crop(before, size))
        assert np.abs(after.astype(int) - before).mean() < 1.0
        corners = square.corners()
        low, high = corners.min(axis=0), corners.max(axis=0)
        outside = np.ones(before.shape[:2], bool)
        outside[max(0, int(low[1])) : int(high[1]) + 2, max(0, int(low[0])) : int(high[0]) + 2] = 0
        assert (after[outside] == before[outside]).all()

    def test_a_pasted_picture_is_whole_in_the_middle_and_fades_out(self):
        after = face(150, 100).square.paste(photo(), np.full((32, 32, 3), 255, np.uint8))
        assert (after[102, 150] == 255).all()
        row = after[102, 150 : 150 + 50].astype(int) - photo()[102, 150 : 150 + 50]
        assert row[0].min() > 0 and (row[46:] == 0).all()


class TestChoice:
    def test_no_face(self):
        with pytest.raises(UsageError, match="party: no face"):
            choose_faces([], photo(), "party", None, 64)

    def test_the_largest_of_several_with_a_note(self):
        faces = [face(60, 80, 0.5), face(160, 100), face(260, 90, 0.6)]
        (crop,) = choose_faces(faces, photo(), "party", None, 64)
        assert crop.face is faces[1]
        assert crop.notes == ("3 faces; the largest is taken, number 2 from the left",)

    def test_a_number_or_all(self):
        faces = [face(60, 80, 0.5), face(260, 90, 0.6)]
        assert choose_faces(faces, photo(), "party", 2, 64)[0].face is faces[1]
        assert [own.face for own in choose_faces(faces, photo(), "p", "all", 64)] == faces
        for wanted in (0, 3, "both"):
            with pytest.raises(UsageError, match="there is no face"):
                choose_faces(faces, photo(), "party", wanted, 64)

    def test_a_small_face_is_named_a_tiny_one_refused(self):
        (crop,) = choose_faces([face(160, 100, 0.5)], photo(), "party", None, 128)
        assert "small: 43 pixels" in crop.notes[0]
        with pytest.raises(UsageError, match="too small"):
            choose_faces([face(160, 100, 0.2)], photo(), "party", None, 64)

    def test_a_cut_off_head_is_named_a_cut_off_face_refused(self):
        (crop,) = choose_faces([face(11, 100)], photo(), "party", None, 64)
        assert "mirrored" in crop.notes[0]
        for own in (face(3, 100), face(160, 230), face(160, 100, 40)):
            with pytest.raises(UsageError, match="cut off"):
                choose_faces([own], photo(), "party", None, 64)

    def test_of_all_faces_the_unusable_are_left_out(self):
        crops = choose_faces([face(3, 100), face(160, 100)], photo(), "party", "all", 64)
        assert len(crops) == 1 and "face 1 is left out: the face is cut off" in crops[0].notes
        with pytest.raises(UsageError, match="no face can be used"):
            choose_faces([face(3, 100), face(3, 20)], photo(), "party", "all", 64)

    def test_numbers_that_are_none(self):
        with pytest.raises(UsageError, match="too small"):
            choose_faces([Face(np.full((5, 2), np.nan))], photo(), "party", None, 64)


class TestLooks:
    def test_neighbouring_cells_are_one_face(self):
        points = np.stack([face(100, 100).points, face(103, 99).points, face(30, 90).points] * 2)
        score = np.array([0.8, 0.9, 0.7, 0.1, 0.2, 0.3], np.float32)
        found = faces_of_grid(score, points)
        assert [round(own.score, 1) for own in found] == [0.7, 0.9]  # from left to right

    def test_the_second_look_is_closer(self):
        shapes = []

        def detect(picture: np.ndarray) -> list[Face]:
            shapes.append(picture.shape)
            if len(shapes) == 1:
                return [face(200, 150)]
            middle = np.array(picture.shape[1::-1]) / 2
            return [face(*middle), face(*middle - 40, 0.2)]

        (found,) = look_twice(detect, photo(400, 600))
        assert shapes[0] == (400, 600, 3) and max(shapes[1]) < 150
        assert np.abs(found.points - face(200, 152.4).points).max() < 2

    def test_what_the_second_look_misses_stays(self):
        answers = iter([[face(200, 150)], []])
        assert look_twice(lambda _: next(answers), photo(400, 600))[0].points[0, 0] == 190

    def test_distinct_keeps_the_surest(self):
        sure = Face(face(101, 100).points, 0.99)
        assert distinct([face(100, 100), sure]) == [sure]


class TestYuNet:
    def test_opencv_runs_it(self, tmp_path: Path):
        (tmp_path / "yunet.onnx").write_bytes(detector())
        picture = np.zeros((100, 150, 3), np.uint8)
        picture[24:32, 40:48, 0] = 255  # red: the detector takes BGR
        picture[56:64, 104:112, 2] = 255
        found = YuNetFinder(tmp_path / "yunet.onnx").find(picture, "photo")
        assert len(found) == 1 and found[0].score > 0.9
        assert np.allclose(found[0].points, 8 * np.add(POINTS, (5, 3)), atol=0.1)

    def test_a_large_photo_is_shrunk_and_points_come_back_at_its_scale(self, tmp_path: Path):
        (tmp_path / "yunet.onnx").write_bytes(detector())
        picture = np.zeros((960, 1280, 3), np.uint8)
        picture[96:112, 160:176, 0] = 255
        finder = YuNetFinder(tmp_path / "yunet.onnx")
        (found,) = finder._detect(picture)
        expected = 16 * np.add(POINTS, (10, 6)) + 0.5
        assert np.allclose(found.points, expected, atol=0.6)

    @pytest.mark.parametrize("data", [b"", b"no onnx", b"\x08\x08"])
    def test_other_files_are_refused(self, tmp_path: Path, data: bytes):
        (tmp_path / "other.onnx").write_bytes(data)
        with pytest.raises(MalformedFileError, match="OpenCV cannot run"):
            YuNetFinder(tmp_path / "other.onnx")


class TestPointsInAFile:
    def test_faces_from_left_to_right(self):
        right, left = (face(x, 50).points.tolist() for x in (200, 60))
        found = read_landmarks(record(**{"a.jpg": [right, left], "b.jpg": []}), "points.json")
        assert [own.points[0, 0] for own in found["a.jpg"]] == [50, 190]
        assert found["b.jpg"] == []

    @pytest.mark.parametrize(
        "own",
        [
            "no list",
            [[[1, 2]] * 4],
            [[[1, 2]] * 6],
            [[[1, 2, 3]] * 5],
            [[[1, "2"]] * 5],
            [[[1, True]] * 5],
            [[[1, 2e7]] * 5],
            [{"points": []}],
            [[[1, 2]] * 5] * 1001,
        ],
    )
    def test_other_points_are_refused(self, own):
        with pytest.raises(MalformedFileError, match=r"a\.jpg"):
            read_landmarks(record(**{"a.jpg": own}), "points.json")

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"format": "other"}, MalformedFileError),
            ({"version": 2}, IncompatibleError),
            ({"more": 1}, MalformedFileError),
            ({"photos": []}, MalformedFileError),
        ],
    )
    def test_other_fields_are_refused(self, change: dict, error: type[Exception]):
        value = json.loads(record()) | change
        with pytest.raises(error):
            read_landmarks(json.dumps(value).encode(), "points.json")


class TestPipeline:
    @pytest.fixture
    def runtime(self, tmp_path: Path):
        bundle = build(tmp_path / "tiny")
        return rs_runtime.load(bundle, provider="cpu", threads=1)

    @pytest.fixture
    def points(self, tmp_path: Path) -> Path:
        faces = [face(x, 80, 0.7).points.tolist() for x in (60, 250)]
        (tmp_path / "points.json").write_bytes(record(picture=faces))
        return tmp_path / "points.json"

    def test_one_face_there_and_back(self, runtime, points: Path):
        before = photo()
        before[:, 160:] //= 3
        with pytest.warns(FaceWarning, match="2 faces"):
            bright = runtime.invert(before, align=points)
        dark = runtime.invert(before, align=points, face=2, check=False)
        assert bright.input[..., 1].mean() > 2.5 * dark.input[..., 1].mean()
        after = dark.paste_back(np.zeros((8, 8, 3), np.uint8))
        assert (after[82, 250] == 0).all() and (after[:, :200] == before[:, :200]).all()

    def test_all_faces_in_one_batch(self, runtime, points: Path):
        inversion = runtime.invert(photo(), align=points, face="all", check=False)
        pictures = inversion.synthesize("sketch")
        assert len(inversion) == 2 and pictures.shape == (2, 8, 8, 3)
        after = inversion.paste_back(pictures)
        for n, x in enumerate((60, 250)):
            assert np.abs(after[82, x].astype(int) - pictures[n, 4, 4]).max() <= 1

    def test_faces_may_be_found_first(self, runtime, points: Path):
        faces = runtime.find_faces(photo(), points)
        inversion = runtime.invert(faces[1], check=False)
        assert inversion.single and inversion.crops == (faces[1],)

    def test_what_cannot_be_pasted_is_told(self, runtime, points: Path):
        plain = runtime.invert(photo(), check=False)
        with pytest.raises(UsageError, match="no one photo"):
            plain.paste_back(plain.synthesize("sketch"))
        two = runtime.invert([photo(), photo()], align=points, face=1, check=False)
        with pytest.raises(UsageError, match="no one photo"):
            two.paste_back(two.synthesize("sketch"))

    def test_what_cannot_find_faces_is_told(self, runtime, points: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="no way to find faces"):
            runtime.invert(photo(), align="eyes.txt")
        with pytest.raises(IncompatibleError, match="no landmarks graph"):
            runtime.invert(photo(), align="bundle")
        with pytest.raises(UsageError, match="says nothing of this photo"):
            runtime.find_faces(photo(), points, name="other.jpg")
        with pytest.raises(UsageError, match="give align"):
            runtime.invert(photo(), face=1)
        with pytest.raises(UsageError):
            open_finder(tmp_path / "absent.json", runtime._roles)
