"""Pictures that keep a feature map: what moves it, what its strength means, what is refused."""

from pathlib import Path

import numpy as np
import pytest

import rs_runtime
from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.contracts.errors import IncompatibleError, NumericsError, UsageError
from rs_runtime.image_io import load_picture, write_picture
from rs_runtime.mixing import mix
from tests.runtime import tiny_bundle
from tests.runtime.feature_bundle import DETAIL, SHIFT, build
from tests.runtime.test_editing import direction
from tests.runtime.tiny_bundle import SIZE, TABLE, TINTS, domain_set

RED, BLUE = (200, 80, 60), (40, 90, 210)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("bundle") / "features")


@pytest.fixture(scope="module")
def runtime(folder):
    return rs_runtime.load(folder, provider="cpu", threads=1)


def flat(colour) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), colour, np.uint8)


def painted(colour, change=0.0, strength=1.0) -> np.ndarray:
    """The picture whose latents and tokens change its colour by `change`, by hand."""
    base = np.array(colour) / 127.5 - 1
    lower_source, lower_domain = base / 2, (base + change) / 2
    shifted = lower_source + DETAIL + SHIFT * (lower_domain - lower_source)
    feature = lower_domain + strength * (shifted - lower_domain)
    total = feature + (base + change) / 2
    return np.rint(np.clip((total + 1) * 127.5, 0, 255))


def assert_paint(picture, expected) -> None:
    assert picture.dtype == np.uint8 and picture.shape == (SIZE, SIZE, 3)
    assert np.abs(picture.astype(int) - expected).max() <= 1


def test_a_picture_is_drawn_with_its_feature_map(runtime):
    inversion = runtime.invert(flat(RED), check=False)
    assert inversion.feature.shape == (3, 4, 4)
    assert_paint(inversion.reconstruction, painted(RED))
    assert_paint(inversion.first_inversion, painted(RED, strength=0))
    assert (inversion.reconstruction != inversion.first_inversion).any()


@pytest.mark.parametrize("strength", [1.0, 0.0, 0.5, -1.0])
def test_domains_move_the_feature_map(runtime, strength):
    inversion = runtime.invert(flat(RED), check=False)
    picture = inversion.synthesize(["sketch", "oil=0.5"], image_strength=strength)
    change = TINTS["sketch"] + 0.5 * TINTS["oil"]
    assert_paint(picture, painted(RED, change, strength))


def test_without_its_own_detail_a_picture_is_that_of_its_latent(runtime):
    inversion = runtime.invert(flat(BLUE), check=False)
    tokens = mix([[(domain_set("sketch"), 1.0)]], TABLE)
    whole, _ = runtime.synthesize(inversion.w_plus[None], tokens)
    assert_paint(inversion.synthesize("sketch", image_strength=0), whole[0].astype(int))


def test_edits_move_the_feature_map(runtime):
    inversion = runtime.invert(flat(RED), check=False)
    step = np.zeros((TABLE.num_ws, TABLE.w_dim), np.float32)
    step[:3, 0] = (0.1, 0.0, -0.1)
    picture = inversion.synthesize("sketch", edits=[(direction(step=step), 2.0)])
    assert_paint(picture, painted(RED, TINTS["sketch"] + np.array([0.2, 0.0, -0.2])))


def test_a_batch_has_mixes_and_strengths_of_its_own(runtime):
    colours = [RED, BLUE, *[(10 * n, 100, 250 - 10 * n) for n in range(9)]]
    batch = runtime.invert([flat(colour) for colour in colours], check=False)
    mixes = [["sketch"], [("oil", 0.5), "sketch=2"], *[[]] * 9]
    strengths = [1.0, 0.5, *[1.0] * 9]
    pictures = batch.synthesize(mixes, image_strength=strengths)
    assert_paint(pictures[0], painted(RED, TINTS["sketch"]))
    both = 0.5 * TINTS["oil"] + 2 * TINTS["sketch"]
    assert_paint(pictures[1], painted(BLUE, both, 0.5))
    for picture, colour in zip(pictures[2:], colours[2:], strict=True):
        assert_paint(picture, painted(colour))
    alone = runtime.invert(flat(BLUE), check=False)
    own = alone.synthesize([("oil", 0.5), "sketch=2"], image_strength=0.5)
    np.testing.assert_array_equal(pictures[1], own)


def test_a_token_set_cannot_hold_a_feature_map(runtime, tmp_path):
    inversion = runtime.invert(flat(RED), check=False)
    path = tmp_path / "photo.tokens"
    with pytest.raises(IncompatibleError, match="feature map"):
        inversion.save_tokens(path)
    assert not path.exists()


def test_bad_strengths_are_refused(runtime):
    inversion = runtime.invert(flat(RED), check=False)
    for strength in (np.nan, [1.0, 2.0]):
        with pytest.raises(UsageError, match="strength"):
            inversion.synthesize("sketch", image_strength=strength)
    with pytest.raises(NumericsError, match="not finite"):
        inversion.synthesize("oil=1e38")


def test_a_bundle_without_its_parts_is_refused(tmp_path):
    with pytest.raises(UsageError, match="without role feature_encoder"):
        tiny_bundle.build(tmp_path / "other", model="feature_shift")


def test_the_command_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_picture(Path("photo.png"), flat(RED))

    def rs_run(*args: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ending:
            run(group, "rs-run", [*args, "--bundle", str(folder), "--provider", "cpu"])
        return ending.value.code, capsys.readouterr().err

    assert rs_run("invert", "photo.png", "--domain", "sketch.tokens")[0] == 0
    assert_paint(load_picture("photo.sketch.png"), painted(RED, TINTS["sketch"]))
    assert rs_run("compare", "photo.png", "--domains", "all")[0] == 0
    assert rs_run("bench", "--runs", "1", "--batch", "2")[0] == 0
    code, message = rs_run("invert", "photo.png", "--save-tokens", "own.tokens", "--out", "own.png")
    assert code == IncompatibleError.exit_code and "feature map" in message
    assert not Path("own.tokens").exists() and not Path("own.png").exists()
