"""Domains divided by an encoder's alphas: against the oracle, in pictures, on the command line."""

from pathlib import Path

import numpy as np
import pytest

import rs_runtime
from rs_runtime.calibration import calibrated
from rs_runtime.cli import run
from rs_runtime.cli._verbs import group
from rs_runtime.contracts.bundle import write_bundle
from rs_runtime.contracts.calibration import encode_calibration
from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.image_io import load_picture, write_picture
from rs_runtime.mixing import mix
from rs_runtime.reference import refined_kernel
from tests.runtime.contracts.test_calibration import TABLE, sound
from tests.runtime.tiny_bundle import build, domain_set, manifest_and_contents

RED = np.full((8, 8, 3), (200, 80, 60), np.uint8)
ALPHAS = {name: own.alpha for name, own in sound().layers.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    manifest, contents = manifest_and_contents()
    contents["calibration.json"] = encode_calibration(sound())
    path = tmp_path_factory.mktemp("bundle") / "calibrated"
    write_bundle(path, manifest, contents)
    return path


@pytest.fixture(scope="module")
def runtime(folder):
    return rs_runtime.load(folder, provider="cpu", threads=1)


def test_kernels_are_those_of_divided_changes():
    """Against the oracle in float64, from packed tokens, as a synthesis gets them."""
    rng = np.random.default_rng(0)
    convs = TABLE.convs
    domain = domain_set(
        "both",
        P={c.name: rng.standard_normal((2, c.out_channels)) for c in convs},
        Q={c.name: rng.standard_normal((2, c.in_channels)) for c in convs},
        style_offset={c.name: rng.standard_normal(c.in_channels) for c in TABLE.layers},
        modulation={c.name: rng.standard_normal(c.in_channels) for c in convs},
    )
    packed = mix([[(calibrated(domain, sound()), 0.5)]], TABLE)
    plain = mix([[(domain, 0.5)]], TABLE)
    np.testing.assert_array_equal(packed.modulation, plain.modulation)
    for layer in TABLE.layers:
        weight = rng.standard_normal((layer.out_channels, layer.in_channels, 3, 3))
        style = rng.standard_normal((1, layer.in_channels))
        offset = packed.style_offset[:, TABLE.style_slices[layer.name]]
        residual, expected = (
            {},
            (style + 0.5 * domain.style_offset[layer.name] / ALPHAS[layer.name]),
        )
        expected = expected[:, None, :, None, None] * weight
        if layer.kind == "conv":
            residual["P"] = packed.P[..., TABLE.out_slices[layer.name]]
            residual["Q"] = packed.Q[..., TABLE.in_slices[layer.name]]
            dW = 0.5 * domain.P[layer.name].T @ domain.Q[layer.name] / ALPHAS[layer.name]
            expected = expected + dW[..., None, None]
        kernel = refined_kernel(weight, style, style_offset=offset, demodulate=False, **residual)
        np.testing.assert_allclose(kernel, expected, rtol=1e-5, atol=1e-5)


def test_domains_of_an_inversion_are_divided_and_its_own_tokens_are_not(runtime):
    inversion = runtime.invert(RED, check=False)
    plain = inversion.synthesize(["sketch", "oil=0.5"]).astype(int)
    picture = inversion.synthesize(["sketch", "oil=0.5"], calibrate=True)
    by_hand = [
        (calibrated(domain_set(name), sound()), f) for name, f in (("sketch", 1), ("oil", 0.5))
    ]
    np.testing.assert_array_equal(picture, inversion.synthesize(by_hand))
    assert np.abs(picture - plain).max() > 3
    np.testing.assert_array_equal(inversion.synthesize(calibrate=True), inversion.reconstruction)


def test_repeats_still_add_up(runtime):
    inversion = runtime.invert(RED, check=False)
    twice = inversion.synthesize(["sketch", "sketch=0.5"], calibrate=True)
    np.testing.assert_array_equal(twice, inversion.synthesize("sketch=1.5", calibrate=True))
    mixes = runtime.mixes(["sketch", "sketch=0.5"], 2, calibrate=True)
    assert len({id(domain) for own in mixes for domain, _ in own}) == 1


def test_a_bundle_without_calibration_says_so(tmp_path):
    runtime = rs_runtime.load(build(tmp_path / "tiny"), provider="cpu", threads=1)
    with pytest.raises(IncompatibleError, match="no calibration"):
        runtime.invert(RED, check=False).synthesize("sketch", calibrate=True)


def test_the_command_line(folder, runtime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_picture(Path("photo.png"), RED)
    line = ["photo.png", "--calibrate", "--bundle", str(folder), "--provider", "cpu"]
    for verb, options in (("invert", ["-d", "sketch"]), ("compare", ["--domains", "sketch"])):
        with pytest.raises(SystemExit) as ending:
            run(group, "rs-run", [verb, *line, *options])
        assert ending.value.code == 0
    expected = runtime.invert(RED, check=False).synthesize("sketch", calibrate=True)
    np.testing.assert_array_equal(load_picture("photo.sketch.png"), expected)
