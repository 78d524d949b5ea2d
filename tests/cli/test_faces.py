"""``rs-run invert --align``: a photo in, a photo out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.image_io import load_picture
from tests.runtime.test_faces import face, photo
from tests.runtime.tiny_bundle import build

EVERYBODY = ("--align", "points.json", "--face", "all", "--paste-back")


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("template") / "tiny")


@pytest.fixture
def rs_run(template: Path, tmp_path: Path, monkeypatch, capsys):
    """Runs a command line where party.png has two faces and empty.png none."""
    shutil.copytree(template, tmp_path / "tiny")
    for name in ("party.png", "empty.png"):
        Image.fromarray(photo()).save(tmp_path / name)
    faces = [face(x, 80, 0.7).points.tolist() for x in (60, 250)]
    value = {"party.png": faces, "empty.png": []}
    record = {"format": "refinestyle-landmarks", "version": 1, "photos": value}
    (tmp_path / "points.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)

    def call(*args: str, code: int = 0) -> tuple[str, str]:
        common = ("--bundle", "tiny", "--provider", "cpu", "--threads", "1")
        with pytest.raises(SystemExit) as ending:
            run(group, "rs-run", ["invert", *args, *common])
        out, err = capsys.readouterr()
        assert ending.value.code == code, err
        return out, err

    return call


def test_the_whole_photo_with_one_face(rs_run):
    args = ("party.png", "--align", "points.json", "--paste-back", "-d", "sketch")
    out, err = rs_run(*args)
    assert "wrote party.sketch.png" in out and "2 faces; the largest is taken" in err
    after = load_picture("party.sketch.png")
    changed = (after != photo()).any(axis=(0, 2))
    assert after.shape == photo().shape and changed[:150].any() != changed[150:].any()


def test_the_whole_photo_with_all_faces(rs_run):
    out, _ = rs_run("party.png", *EVERYBODY, "-d", "sketch", "--json")
    (result,) = json.loads(out)
    assert np.array(result["faces"]).shape == (2, 5, 2)
    changed = (load_picture("party.sketch.png") != photo()).any(axis=(0, 2))
    assert changed[:150].any() and changed[150:].any()
    strip = load_picture(result["strip"])
    assert strip.shape[0] > 500  # a row for each face


def test_the_crop_alone(rs_run):
    rs_run("party.png", "--align", "points.json", "--face", "2", "--no-strip")
    assert load_picture("party.inverted.png").shape == (8, 8, 3)


def test_no_face_is_an_outcome_of_its_photo(rs_run):
    _, err = rs_run("empty.png", "--align", "points.json", code=2)
    assert "empty.png: no face was found" in err
    out, err = rs_run("party.png", "empty.png", "--align", "points.json", code=8)
    assert "wrote party.inverted.png" in out and "empty.png  exit 2  no face was found" in err
    assert not Path("empty.inverted.png").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--face", "1"), "add --align"),
        (("--paste-back",), "add --align"),
        (("--align", "points.json", "--face", "all"), "add --paste-back"),
        (("--align", "points.json", "--face", "0"), "a number from 1"),
        (("--align", "points.json", "--face", "three"), "a number from 1"),
        (("--align", "points.json", "--face", "3"), "1 to 2, or all"),
        (("--align", "points.txt"), "no way to find faces"),
        (("--align", "absent.onnx"), "absent.onnx"),
        (
            (*EVERYBODY, "--save-tokens", "a.tokens"),
            "--save-tokens keeps one face",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(rs_run, args: tuple[str, ...], message: str):
    _, err = rs_run("party.png", *args, code=2)
    assert message in err


def test_a_bundle_without_the_graph_says_what_else_there_is(rs_run):
    _, err = rs_run("party.png", "--align", "bundle", code=5)
    assert "no landmarks graph" in err and ".json" in err
