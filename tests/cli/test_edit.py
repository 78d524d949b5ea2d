"""``--edit`` of ``rs-run``: names, files, strengths, outputs, and what ``info`` says of edits."""

import json

import numpy as np
import pytest
from PIL import Image

import rs_runtime
from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.contracts.bundle import write_bundle
from rs_runtime.contracts.directions import encode_direction, write_direction
from rs_runtime.image_io import load_picture
from tests.runtime.test_editing import direction
from tests.runtime.tiny_bundle import manifest_and_contents


@pytest.fixture
def rs_run(tmp_path, monkeypatch, capsys):
    """Runs a command line in a folder with photo.png, mine.direction and the bundle tiny."""
    manifest, contents = manifest_and_contents()
    contents["edits/warm.direction"] = encode_direction(direction())
    write_bundle(tmp_path / "tiny", manifest, contents)
    write_direction(tmp_path / "mine.direction", direction("style"))
    Image.fromarray(np.full((8, 8, 3), (200, 80, 60), np.uint8)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)

    def call(*args: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ending:
            run(group, "rs-run", [*args])
        out, err = capsys.readouterr()
        assert ending.value.code == code, err
        return out, err

    return call


def test_edits_and_domains_of_a_photo(rs_run):
    edits = ("--edit", "warm=1.5", "-e", "mine.direction", "--domain", "oil")
    out, _ = rs_run("invert", "photo.png", *edits, "--no-strip", "--bundle", "tiny")
    assert out == "wrote photo.warm=1.5+mine+oil.png\n"
    inversion = rs_runtime.load("tiny", threads=1).invert("photo.png", check=False)
    expected = inversion.synthesize("oil", edits=["warm=1.5", "mine.direction"])
    np.testing.assert_array_equal(load_picture("photo.warm=1.5+mine+oil.png"), expected)


def test_saved_pictures_and_random_heads(rs_run):
    rs_run(
        "invert", "photo.png", "--save-tokens", "me.tokens", "--bundle", "tiny", "--edit", "warm"
    )
    rs_run("synth", "--tokens", "me.tokens", "--edit", "warm", "--bundle", "tiny")
    saved, direct = (load_picture(name) for name in ("me.warm.png", "photo.warm.png"))
    np.testing.assert_array_equal(saved, direct)
    out, _ = rs_run("synth", "--seed", "1-2", "--edit", "warm=-1", "--bundle", "tiny")
    assert out == "wrote head.1.warm=-1.png\nwrote head.2.warm=-1.png\n"


def test_what_is_no_edit_is_refused_before_any_work(rs_run, tmp_path):
    _, err = rs_run("invert", "photo.png", "--edit", "warmth", "--bundle", "tiny", code=2)
    assert "did you mean warm" in err and "rs-run info lists the edits" in err
    rs_run("invert", "photo.png", "--edit", "warm=much", "--bundle", "tiny", code=2)
    (tmp_path / "mine.direction").write_bytes(b"x" * 100)
    rs_run("invert", "photo.png", "--edit", "mine.direction", "--bundle", "tiny", code=3)
    write_direction("far.direction", direction(fingerprint="0" * 64))
    rs_run("invert", "photo.png", "--edit", "far.direction", "--bundle", "tiny", code=5)
    assert not list(tmp_path.glob("photo.*.png"))
    far = ("--edit", "far.direction", "--allow-foreign", "--no-strip")
    rs_run("invert", "photo.png", *far, "--bundle", "tiny")


def test_info_says_what_a_strength_is(rs_run):
    out, _ = rs_run("info", "tiny")
    assert "strength 1 is one (linear; CC0-1.0)" in out
    facts = json.loads(rs_run("info", "mine.direction", "--json")[0])
    assert facts["kind"] == "style" and facts["unit"] == "one"
