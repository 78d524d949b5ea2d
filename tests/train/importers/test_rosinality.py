"""A genuine-format checkpoint of rosinality/stylegan2-pytorch gives its own project's images."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError, UnsafeFileError
from rs_train.importers.convert import import_models
from rs_train.importers.rosinality import generator_from_state

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="module")
def expected():
    return load_file(FIXTURES / "rosinality_32.expected.safetensors")


@pytest.fixture(scope="module")
def imported():
    return import_models(FIXTURES / "rosinality_32.pt")


@pytest.fixture
def checkpoint():
    return torch.load(FIXTURES / "rosinality_32.pt", weights_only=True)


def test_structure_is_read_off_the_shapes(imported):
    assert imported.source.family == "rosinality"
    assert imported.generator.config.channels == (64, 64, 32, 16)
    assert imported.generator.config.mapping_layers == 4
    assert imported.generator.num_ws == 8
    assert imported.notes == []
    assert imported.licence == "not stated"


@pytest.mark.parametrize("form", ["materialised", "factorised", "dense"])
def test_images_are_reproduced(imported, expected, form):
    generator = imported.generator
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_container_and_type_gives_the_same_tensors(tmp_path, checkpoint, dtype, zipped):
    state = {f"module.{key}": tensor.to(dtype) for key, tensor in checkpoint["g_ema"].items()}
    # A view that is neither contiguous nor at the start of its storage.
    weight = state["module.style.1.weight"]
    state["module.style.1.weight"] = torch.cat([weight.t(), weight.t()])[64:].t()
    saved = {"g_ema": state, "latent_avg": checkpoint["latent_avg"], "args": None}
    torch.save(saved, tmp_path / "file.pt", _use_new_zipfile_serialization=zipped)
    generator = import_models(tmp_path / "file.pt").generator
    kernel = generator.synthesis.layers["b8_conv0"].weight
    assert torch.equal(kernel, checkpoint["g_ema"]["convs.0.conv.weight"][0].to(dtype).float())
    assert torch.equal(generator.mapping_network.layers[0].weight, weight.float())


def test_a_missing_latent_avg_is_computed(checkpoint, expected):
    generator, notes = generator_from_state(checkpoint["g_ema"], None)
    # The mean of 10,000 samples; the stored one is the mean of other samples.
    assert (generator.latent_avg - expected["latent_avg"]).abs().max() < 0.1
    assert generator.latent_avg.abs().max() > 0.5
    assert "computed" in notes[0]


def test_another_shape_or_name_is_refused(tmp_path, checkpoint):
    for key, tensor, named in (
        ("convs.2.activate.bias", None, "convs.2.activate.bias"),
        ("convs.9.extra", torch.zeros(1), "convs.9.extra"),
        ("convs.3.activate.bias", torch.zeros(7), "synthesis.layers.b16_conv1.bias"),
        ("convs.3.activate.bias", torch.full((32,), torch.nan), "convs.3.activate.bias"),
        ("convs.2.conv.blur.kernel", torch.ones(4, 4), "convs.2.conv.blur.kernel"),
        ("noises.noise_0", torch.zeros(()), "dimension 0"),
    ):
        state = dict(checkpoint["g_ema"])
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor
        torch.save({"g_ema": state}, tmp_path / "changed.pt")
        with pytest.raises(MalformedFileError) as error:
            import_models(tmp_path / "changed.pt")
        assert named in error.value.found


@pytest.mark.parametrize(
    ("value", "named"), [(5, "conv1.conv.weight is not a tensor"), ([], "conv1.conv.weight")]
)
def test_what_is_no_tensor_is_refused(tmp_path, checkpoint, value, named):
    torch.save({"g_ema": dict(checkpoint["g_ema"]) | {"conv1.conv.weight": value}}, tmp_path / "x")
    with pytest.raises(MalformedFileError, match=named):
        import_models(tmp_path / "x")


def test_kernels_that_form_no_synthesis_are_refused(tmp_path, checkpoint):
    state = dict(checkpoint["g_ema"])
    state["convs.3.conv.weight"] = torch.zeros(1, 7, 32, 3, 3)
    torch.save({"g_ema": state}, tmp_path / "changed.pt")
    with pytest.raises(IncompatibleError) as error:
        import_models(tmp_path / "changed.pt")
    assert "changed.pt" in str(error.value)


def test_code_in_the_file_is_never_run(tmp_path):
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (canary,))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"g_ema": Payload()}))
    with pytest.raises(UnsafeFileError) as error:
        import_models(tmp_path / "evil.pt")
    assert not canary.exists()
    assert "weights_only" not in str(error.value)


def test_a_cut_file_is_malformed(tmp_path):
    shutil.copy(FIXTURES / "rosinality_32.pt", tmp_path / "cut.pt")
    data = (tmp_path / "cut.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(MalformedFileError):
        import_models(tmp_path / "cut.pt")
