"""What ``rs-run`` writes, where, and what it says, on a bundle worked out by hand."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rs_runtime
from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.cli.synth import parse_seeds
from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.tokens import write_token_set
from rs_runtime.image_io import load_picture
from tests.runtime.tiny_bundle import build, domain_set

PIXELS = np.full((24, 32, 3), (200, 80, 60), np.uint8)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The bundle, written once: its writer flushes every file to disk."""
    return build(tmp_path_factory.mktemp("template") / "tiny")


@pytest.fixture
def rs_run(template, tmp_path, monkeypatch, capsys):
    """Runs a command line in a folder that holds photo.png, noise.png and the bundle tiny."""
    shutil.copytree(template, tmp_path / "tiny")
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    monkeypatch.chdir(tmp_path)

    def call(*args: str, code: int = 0) -> tuple[str, str]:
        single = ("--threads", "1") if args[0] in ("invert", "synth") else ()
        with pytest.raises(SystemExit) as ending:
            run(group, "rs-run", [*args, *single])
        out, err = capsys.readouterr()
        assert ending.value.code == code, err
        return out, err

    return call


def runtime() -> rs_runtime.Runtime:
    return rs_runtime.load("tiny", provider="cpu", threads=1)


def test_the_main_command(rs_run):
    out, err = rs_run("invert", "photo.png", "--domain", "sketch.tokens", "--bundle", "tiny")
    assert out == "wrote photo.sketch.png\nwrote photo.sketch.strip.png\n"
    assert err.startswith("rs-run: provider: ") and len(err.splitlines()) == 1
    inversion = runtime().invert("photo.png")
    expected = inversion.synthesize("sketch")
    np.testing.assert_array_equal(load_picture("photo.sketch.png"), expected)
    strip = load_picture("photo.sketch.strip.png")
    assert strip.shape[1] > 4 * 256 and strip.shape[0] > 256
    panels = [strip[100, 8 + 264 * n + 128] for n in range(4)]
    stages = (inversion.input, inversion.first_inversion, inversion.reconstruction, expected)
    for panel, stage in zip(panels, stages, strict=True):
        np.testing.assert_array_equal(panel, stage[0, 0])


@pytest.mark.parametrize(
    ("args", "name", "domains", "image_strength"),
    [
        ([], "photo.inverted.png", None, 1.0),
        (["-d", "sketch=0.5"], "photo.sketch=0.5.png", ("sketch", 0.5), 1.0),
        (
            ["-d", "sketch", "-d", "oil=-.25"],
            "photo.sketch+oil=-0.25.png",
            ["sketch", "oil=-0.25"],
            1,
        ),
        (["-d", "own.tokens=2"], "photo.own=2.png", "sketch=2", 1.0),
        (["-d", "oil", "--image-strength", "0.5"], "photo.oil.png", "oil", 0.5),
        (["-d", "oil", "--out", "folder/"], "folder/photo.oil.png", "oil", 1.0),
        (["-d", "oil", "--out", "x.webp"], "x.webp", "oil", 1.0),
    ],
)
def test_names_strengths_and_outputs(rs_run, args, name, domains, image_strength):
    write_token_set("own.tokens", domain_set("sketch"))
    out, _ = rs_run("invert", "photo.png", "--bundle", "tiny", "--no-strip", *args)
    assert out == f"wrote {name}\n"
    expected = runtime().invert("photo.png").synthesize(domains, image_strength=image_strength)
    tolerance = 6 if name.endswith("webp") else 0
    assert np.abs(load_picture(name).astype(int) - expected).max() <= tolerance


def test_several_photos_go_on_after_a_failure(rs_run):
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff")
    photos = ["photo.png", "broken.jpg", "noise.png", "gone.png"]
    out, err = rs_run("invert", *photos, "-d", "oil", "--bundle", "tiny", "--out", "all", code=8)
    assert sorted(os.listdir("all")) == [
        "noise.oil.png",
        "noise.oil.strip.png",
        "photo.oil.png",
        "photo.oil.strip.png",
    ]
    assert len(out.splitlines()) == 4
    assert "broken.jpg  exit 3" in err and "gone.png    exit 2" in err
    assert "2 of 4 photos failed; the others were written" in err


def test_an_unfamiliar_photo_is_warned_about(rs_run):
    _, err = rs_run("invert", "noise.png", "--bundle", "tiny", "--provider", "cpu")
    assert err.startswith("rs-run: warning: noise.png: reconstruction error")
    assert "this bundle knows flat colours; bring your own checkpoint" in err
    _, err = rs_run("invert", "photo.png", "--bundle", "tiny", "--provider", "cpu")
    assert err == ""


def test_json_is_all_there_is_on_stdout(rs_run):
    options = ["--bundle", "tiny", "--json", "--no-strip"]
    out, err = rs_run("invert", "photo.png", "gone.png", *options, code=8)
    good, bad = json.loads(out)
    assert good["output"] == "photo.inverted.png" and good["provider"] == "cpu"
    assert 0 <= good["reconstruction_error"] < 0.05 and good["failure"] is None
    assert bad["exit_code"] == 2 and "gone.png" in bad["failure"]
    assert "1 of 2" in err


def test_a_saved_picture_is_restyled_without_the_photo(rs_run):
    rs_run("invert", "photo.png", "-d", "oil", "--bundle", "tiny", "--save-tokens", "me.tokens")
    Path("photo.png").unlink()
    out, _ = rs_run("synth", "--tokens", "me.tokens", "-d", "oil", "--bundle", "tiny")
    assert out == "wrote me.oil.png\n"
    np.testing.assert_array_equal(load_picture("me.oil.png"), load_picture("photo.oil.png"))
    rs_run("synth", "--tokens", "me.tokens", "--image-strength", "0", "--bundle", "tiny")
    np.testing.assert_array_equal(load_picture("me.inverted.png"), PIXELS[:8, :8])


def test_random_heads(rs_run):
    out, _ = rs_run("synth", "--seed", "2-3,9", "-d", "oil", "--bundle", "tiny", "--out", "heads")
    assert out.splitlines() == [f"wrote heads/head.{seed}.oil.png" for seed in (2, 3, 9)]
    expected = runtime().synth([2, 3, 9], "oil")
    for seed, picture in zip((2, 3, 9), expected, strict=True):
        np.testing.assert_array_equal(load_picture(f"heads/head.{seed}.oil.png"), picture)
    out, _ = rs_run("synth", "--truncation", "0", "--bundle", "tiny", "--json")
    (head,) = json.loads(out)
    assert head == {"seed": 1, "output": "head.1.png", "provider": "cpu"}
    assert (load_picture("head.1.png") == 128).all()  # the mapping of zero


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("1-3", [1, 2, 3]), ("1-2, 9,2", [1, 2, 9]), ("0", [0])]
)
def test_seed_lists(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "x", "3-1", "-1", "1-", "1,,2", "0-999999", "1-60000,1-60000"]
)
def test_seed_lists_that_are_none(text):
    with pytest.raises(UsageError, match="not a list of seeds"):
        parse_seeds(text)


def test_info_names_what_matters(rs_run):
    out, _ = rs_run("info", "tiny")
    for fact in (
        "two_stage",
        "8 x 8",
        "flat colours",
        "a sketch of a person",
        "CC0-1.0",
        "refiner",
    ):
        assert fact in out
    assert "synthesis fp32   at least 101 dB over 2 tensors" in out
    assert "preprocess fp32  identical over 1 tensors" in out
    facts = json.loads(rs_run("info", "tiny", "--json")[0])
    assert facts["domains"]["oil"]["style_offset"] == 5 and facts["rank"] == 2
    tokens = json.loads(rs_run("info", "tiny/domains/sketch.tokens", "--json")[0])
    assert tokens["rank"] == 1 and tokens["residual"] == 3 and tokens["w_plus"] is False


def test_version_and_help(rs_run):
    assert rs_runtime.__version__ in rs_run("--version")[0]
    out, _ = rs_run("--help")
    assert all(verb in out for verb in group.verbs)
    for verb in group.verbs:
        assert "--debug" in rs_run("--debug", verb, "--help")[0]


def test_help_starts_fast_and_loads_no_engine():
    heavy = ["torch", "onnxruntime", "cv2", "PIL", "onnx", "numpy"]
    script = (
        "import sys\n"
        "from rs_runtime.cli import main\n"
        "sys.argv[1:] = ['--help']\n"
        "try:\n    main()\n"
        f"finally:\n    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr == "[]\n"
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert spent < 0.4
