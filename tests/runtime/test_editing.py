"""Edits, worked out by hand: what they do to latents, styles, pictures, and what they leave."""

from dataclasses import replace

import numpy as np
import pytest

import rs_runtime
from rs_runtime.contracts.bundle import write_bundle
from rs_runtime.contracts.directions import Direction, encode_direction, write_direction
from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UsageError
from rs_runtime.editing import edit
from rs_runtime.mixing import neutral
from tests.runtime.tiny_bundle import (
    FINGERPRINT,
    TABLE,
    TINTS,
    domain_set,
    manifest_and_contents,
    own_tint,
)

PICTURE = np.full((8, 8, 3), (200, 80, 60), np.uint8)
MEAN = PICTURE[0, 0] / 127.5 - 1


def direction(kind: str = "linear", **changes) -> Direction:
    """Adds 0.1 to the red row; or moves row 0 towards 0.5; or shifts styles by 1 in a toRGB."""
    step = np.zeros((4, 2), np.float32)
    step[0, 0] = 0.1 if kind == "linear" else 1
    latent = {"step": step}
    if kind == "absolute":
        latent |= {"axis": np.array([1.0, 0.0]), "goal": np.array([0.5, 9.0])}
    if kind == "style":
        latent = {"style_offset": {"b4.torgb": np.full(4, 1.0, np.float32)}}
    fields = {
        "kind": kind,
        "name": kind,
        "unit": "one",
        "source": "tests",
        "licence": "CC0-1.0",
        "fingerprint": FINGERPRINT,
        "table_hash": TABLE.hash,
    }
    return Direction(**fields | latent | changes)


# What each at strength 1 adds to the (red, green, blue) of image_float.
SHIFTS = {
    "linear": np.array([0.1, 0, 0]),
    "absolute": np.array([0.5 - MEAN[0], 0, 0]),
    "style": np.array([0.01 * 4, 0, 0]),
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """The tiny bundle with three edits in it."""
    manifest, contents = manifest_and_contents()
    contents |= {f"edits/{kind}.direction": encode_direction(direction(kind)) for kind in SHIFTS}
    folder = tmp_path_factory.mktemp("edits") / "tiny"
    write_bundle(folder, manifest, contents)
    return rs_runtime.load(folder, provider="cpu", threads=1)


def levels(colour: np.ndarray) -> np.ndarray:
    return np.round(np.clip((colour + 1) * 127.5, 0, 255))


def pixel(picture: np.ndarray) -> np.ndarray:
    return picture[0, 0].astype(float)


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("strength", [1, 0.5, -2, 0])
def test_an_edit_shifts_the_picture_and_its_tokens_stay(runtime, name, strength):
    inversion = runtime.invert(PICTURE, check=False)
    picture = inversion.synthesize(edits=f"{name}={strength}")
    expected = MEAN + own_tint(MEAN[0]) + strength * SHIFTS[name]
    np.testing.assert_allclose(pixel(picture), levels(expected), atol=1)


def test_edits_compose_with_domains_in_any_order(runtime):
    inversion = runtime.invert(PICTURE, check=False)
    edits = ["linear", ("style", 2), "absolute=0.5"]
    picture = inversion.synthesize("oil=0.5", edits=edits, image_strength=0)
    shift = SHIFTS["linear"] + 2 * SHIFTS["style"] + 0.5 * SHIFTS["absolute"]
    expected = MEAN + 0.5 * TINTS["oil"] + shift
    np.testing.assert_allclose(pixel(picture), levels(expected), atol=1)
    again = inversion.synthesize("oil=0.5", edits=edits[::-1], image_strength=0)
    np.testing.assert_array_equal(picture, again)


def test_each_sample_may_have_its_own_edits(runtime):
    inversion = runtime.invert([PICTURE, PICTURE], check=False)
    pictures = inversion.synthesize(edits=[["linear"], []], image_strength=0)
    np.testing.assert_allclose(pixel(pictures[0]), levels(MEAN + SHIFTS["linear"]), atol=1)
    np.testing.assert_allclose(pixel(pictures[1]), levels(MEAN), atol=1)


def test_random_heads_take_edits(runtime):
    plain, edited = (
        runtime.synth(3, edits=edits, truncation_psi=0)[0, 0, 0] for edits in (None, "linear=2")
    )
    assert float(edited) - float(plain) == pytest.approx(0.2 * 127.5, abs=1)


def test_files_come_before_names_of_the_bundle(runtime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_direction("linear.direction", direction(name="mine", step=np.zeros((4, 2))))
    inversion = runtime.invert(PICTURE, check=False)
    np.testing.assert_array_equal(
        inversion.synthesize(edits="linear.direction"), inversion.reconstruction
    )
    assert not np.array_equal(inversion.synthesize(edits="linear"), inversion.reconstruction)


def test_what_does_not_fit_is_refused(runtime):
    inversion = runtime.invert(PICTURE, check=False)
    with pytest.raises(UsageError, match="absolute, linear, style"):
        inversion.synthesize(edits="smile")
    with pytest.raises(IncompatibleError, match="the direction 'linear' was made for another"):
        inversion.synthesize(edits=direction(fingerprint="0" * 64))
    with pytest.raises(UsageError, match="not an edit"):
        inversion.synthesize(edits=domain_set("oil"))
    with pytest.raises(UsageError, match="finite"):
        inversion.synthesize(edits=(direction(), float("nan")))
    with pytest.raises(IncompatibleError, match="shape of step"):
        inversion.synthesize(edits=direction(step=np.zeros((6, 2))))


def test_nothing_is_copied_without_edits():
    w_plus, tokens = np.zeros((2, 4, 2), np.float32), neutral(2, TABLE)
    assert edit(w_plus, tokens, [[], []], TABLE) == (w_plus, tokens)


def test_arguments_are_left_as_they_were():
    w_plus, tokens = np.zeros((1, 4, 2), np.float32), neutral(1, TABLE)
    edit(w_plus, tokens, [[(direction(), 1.0), (direction("style"), 1.0)]], TABLE)
    assert not w_plus.any() and not tokens.style_offset.any()


@pytest.mark.parametrize("path", ["edits/smile.txt", "edits/a/b.direction", "edits/.direction"])
def test_other_files_among_the_edits_are_refused(path, tmp_path):
    manifest, contents = manifest_and_contents()
    with pytest.raises((UsageError, MalformedFileError)):
        write_bundle(tmp_path / "b", manifest, contents | {path: b"x"})


def test_a_damaged_edit_is_named(tmp_path):
    manifest, contents = manifest_and_contents()
    data = encode_direction(replace(direction(), fingerprint="0" * 64))
    write_bundle(tmp_path / "b", manifest, contents | {"edits/smile.direction": data})
    runtime = rs_runtime.load(tmp_path / "b", provider="cpu", threads=1)
    with pytest.raises(IncompatibleError, match=r"edits/smile\.direction"):
        runtime.direction("smile")
