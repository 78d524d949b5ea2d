"""A genuine-format checkpoint gives the images that its own project computed."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UnsafeFileError
from rs_train.importers.rosinality import generator_from_state, load_rosinality

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="module")
def expected():
    return load_file(FIXTURES / "rosinality_32.expected.safetensors")


@pytest.fixture(scope="module")
def generator():
    return load_rosinality(FIXTURES / "rosinality_32.pt")


def test_structure_is_read_off_the_shapes(generator):
    assert generator.config.channels == (64, 64, 32, 16)
    assert generator.config.mapping_layers == 4
    assert generator.num_ws == 8


@pytest.mark.parametrize("form", ["materialised", "factorised", "dense"])
def test_images_are_reproduced(generator, expected, form):
    generator.synthesis.form = form
    torch.testing.assert_close(generator.latent_avg, expected["latent_avg"])
    w = generator.mapping(expected["z"])
    torch.testing.assert_close(w, expected["w"], atol=1e-5, rtol=1e-5)
    images = {
        "img_w": generator(expected["z"]),
        "img_truncated_0_7": generator(expected["z"], truncation_psi=0.7),
        "img_w_plus": generator.synthesis(expected["w_plus"]),
    }
    for name, image in images.items():
        assert (image - expected[name]).abs().max() < 1e-4, name


def test_a_missing_latent_avg_is_computed(expected):
    checkpoint = torch.load(FIXTURES / "rosinality_32.pt", weights_only=True)
    generator = generator_from_state(checkpoint["g_ema"], None)
    # The mean of 10,000 samples; the stored one is the mean of other samples.
    assert (generator.latent_avg - expected["latent_avg"]).abs().max() < 0.1
    assert generator.latent_avg.abs().max() > 0.5


def test_another_shape_or_name_is_refused(tmp_path):
    checkpoint = torch.load(FIXTURES / "rosinality_32.pt", weights_only=True)
    for key, tensor, named in (
        ("convs.2.activate.bias", None, "convs.2.activate.bias"),
        ("convs.9.extra", torch.zeros(1), "convs.9.extra"),
        ("convs.3.activate.bias", torch.zeros(7), "synthesis.layers.b16_conv1.bias"),
        ("noises.noise_0", torch.zeros(()), "dimension 0"),
        ("conv1.conv.weight", 5, "shape"),
    ):
        state = dict(checkpoint["g_ema"])
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor
        torch.save({"g_ema": state}, tmp_path / "changed.pt")
        with pytest.raises(MalformedFileError) as error:
            load_rosinality(tmp_path / "changed.pt")
        assert named in error.value.found


def test_kernels_that_form_no_synthesis_are_refused(tmp_path):
    checkpoint = torch.load(FIXTURES / "rosinality_32.pt", weights_only=True)
    state = dict(checkpoint["g_ema"])
    state["convs.3.conv.weight"] = torch.zeros(1, 7, 32, 3, 3)
    torch.save({"g_ema": state}, tmp_path / "changed.pt")
    with pytest.raises(IncompatibleError):
        load_rosinality(tmp_path / "changed.pt")


def test_code_in_the_file_is_never_run(tmp_path):
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (canary,))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"g_ema": Payload()}))
    with pytest.raises(UnsafeFileError) as error:
        load_rosinality(tmp_path / "evil.pt")
    assert not canary.exists()
    assert "weights_only" not in str(error.value)


def test_a_cut_file_is_malformed(tmp_path):
    shutil.copy(FIXTURES / "rosinality_32.pt", tmp_path / "cut.pt")
    data = (tmp_path / "cut.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(MalformedFileError):
        load_rosinality(tmp_path / "cut.pt")
