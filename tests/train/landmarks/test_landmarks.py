"""The landmark network: photos made up for it, its losses, what it finds, its graph."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rs_export import forms
from rs_export.graphs.landmarks import landmarks_role
from rs_export.portable import finish
from rs_runtime.alignment import ffhq_square
from rs_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from rs_runtime.face_finders import read_landmarks
from rs_runtime.faces import Face
from rs_runtime.image_io import load_picture
from rs_train.checkpoint import load_model
from rs_train.landmarks import composites
from rs_train.landmarks.composites import Composites, Example
from rs_train.landmarks.measure import measure
from rs_train.landmarks.network import LandmarkConfig, LandmarkNetwork
from rs_train.loop import LoopConfig, run
from rs_train.portraits.folder import RenderSettings, render_folder
from rs_train.portraits.group import cut_out, place
from rs_train.portraits.group_photo import group_photo
from rs_train.portraits.scene import sample_scene
from rs_train.tasks.landmarks import LandmarkRun, LandmarkTask, crop_sides, landmark_losses

EXAMPLES = Path(__file__).parents[3] / "examples"
TINY = LandmarkConfig(image_size=64, channels=(4, 4, 4, 4, 4), width=4)
POINTS = np.array([[20, 22], [40, 22], [30, 32], [23, 44], [37, 44]], np.float32)


@pytest.fixture(autouse=True)
def _few_backdrops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composites, "_BACKDROPS", 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heads")
    for _ in render_folder(path, RenderSettings(4, 64, 5, "photo", False, True), 1):
        pass
    return path


def test_composites_are_repeatable_and_show_what_they_say(folder: Path):
    data, again = Composites([folder], 64, seed=1), Composites([folder], 64, seed=1)
    counts = set()
    for index in range(40):
        example = data.example(index)
        assert (example.picture == again.example(index).picture).all()
        assert example.points.shape[1:] == (5, 2)
        assert ((example.points > 0) & (example.points < 63)).all()
        sides = [ffhq_square(points).side for points in example.points]
        assert all(7 < side < 90 for side in sides)
        counts.add(len(example.points))
    assert {0, 1, 2} <= counts
    batch = data.batch([3, 4])
    assert batch["image"].shape == (2, 3, 64, 64) and batch["points"].shape == (2, 4, 5, 2)
    shown = batch["points"][0].isfinite().all(dim=(1, 2)).sum()
    assert shown == len(data.example(3).points)


def test_a_person_is_placed_where_the_map_says():
    person = cut_out(sample_scene(1, 61), 64)
    canvas = np.full((120, 160, 3), 90, np.uint8)
    turn = 0.5 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    points = place(canvas, person, np.column_stack([turn, (80, 30)]))
    assert np.allclose(points, person.points @ turn.T + (80, 30), atol=1e-4)
    eyes = canvas[tuple(points[:2].round().astype(int).T[::-1])]
    cheek = canvas[tuple(points[2].round().astype(int)[::-1])]
    assert (cheek != 90).any() and (eyes.astype(int).sum(axis=1) != cheek.sum()).all()
    assert (canvas[:20] == 90).all()


@pytest.mark.nightly
def test_the_group_photo_is_the_one_of_the_examples():
    photo, points = group_photo(1)
    shown = load_picture(EXAMPLES / "group.jpg")
    assert np.abs(photo.astype(int) - shown).mean() < 2
    told = read_landmarks((EXAMPLES / "group.json").read_bytes(), "group.json")["group.jpg"]
    for own in map(Face, points):
        assert min(np.abs(own.points - other.points).max() for other in told) < 0.1


def test_losses_want_the_truth():
    network = LandmarkNetwork(TINY)
    wanted = torch.full((1, 4, 5, 2), torch.nan)
    wanted[0, 0] = torch.from_numpy(POINTS)
    points = wanted[:, :1].expand(1, len(network.centres), 5, 2).clone()
    middle = wanted[0, 0].mean(dim=0)
    near = (network.centres - middle).norm(dim=1) <= 0.12 * crop_sides(wanted[0, 0])
    sure = torch.where(near, 9.0, -9.0)[None]
    right = landmark_losses(sure, points, wanted, network.centres)
    assert near.any() and right["score"] < 1e-3 and right["points"] == 0
    wrong = landmark_losses(-sure, points + 5, wanted, network.centres)
    assert wrong["score"] > 10 and wrong["points"] > 0.01
    nobody = landmark_losses(-9.0 + 0 * sure, points, wanted * torch.nan, network.centres)
    assert nobody["score"] < 1e-3 and nobody["points"] == 0
    assert crop_sides(wanted[0, 0]).item() == pytest.approx(ffhq_square(POINTS).side, rel=1e-5)


def test_measuring_counts_misses_and_inventions():
    truth = Example(np.zeros((64, 64, 3), np.uint8), POINTS[None])
    close = Face(np.add(POINTS, (2, 0)))
    exact = measure(lambda _: [close], [truth])
    assert (exact.detected, exact.false) == (1, 0) and exact.error == pytest.approx(0.1)
    other = measure(lambda _: [Face(POINTS + 30), close, Face(close.points)], [truth, truth])
    assert (other.detected, other.false) == (1, 2)
    assert measure(lambda _: [], [truth]).detected == 0


def test_a_short_training_gives_a_checkpoint_and_a_portable_graph(folder: Path, tmp_path: Path):
    loop = LoopConfig(steps=2, batch_size=2, log_every=1, sample_every=2)
    config = LandmarkRun(model=TINY, validate_every=2, loop=loop)
    data = Composites([folder], 64)
    task = LandmarkTask(config, tmp_path / "landmarks.safetensors", data)
    (path,) = run(task, data, loop, tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "samples").is_dir()
    role = landmarks_role(load_model(path, expect="landmarks"))
    model = finish(forms.expand(role.intermediate()), role.name)
    engine = OnnxRuntimeEngine(role.name, model.SerializeToString(), "cpu", threads=1)
    for shape in ((64, 64), (37, 150), (200, 90)):
        photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        found, expected = engine.run({"photo": photo}), role.reference({"photo": photo})
        assert found["points"].shape == (64, 5, 2)
        for name in role.outputs:
            assert np.abs(found[name] - expected[name]).max() < 1e-3


def test_points_come_back_in_pixels_of_the_photo():
    network = LandmarkNetwork(TINY).eval()
    torch.nn.init.zeros_(network.head[-1].weight)
    torch.nn.init.zeros_(network.head[-1].bias)  # every cell says: at my centre
    role = landmarks_role(network)
    points = role.reference({"photo": np.zeros((128, 320, 3), np.uint8)})["points"]
    # 320 pixels on 64: a cell of 8 is 40 pixels wide, the first one's centre at 20 - 1/2.
    assert np.allclose(points[0], 19.5) and np.allclose(points[1], (59.5, 19.5))
