"""A genuine-format .pkl of stylegan2-ada-pytorch gives its own project's images."""

from pathlib import Path

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.generator import Generator, GeneratorConfig
from rs_train.importers.convert import import_models
from rs_train.importers.nvidia import generator_from_state
from rs_train.importers.sandbox import extract
from rs_train.importers.verify import compare
from tests.train.importers import genuine

FIXTURES = Path(__file__).parents[2] / "fixtures"
PKL = FIXTURES / "nvidia_ada_32.pkl"


@pytest.fixture(scope="module")
def source():
    return extract(PKL)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    config = GeneratorConfig(channels=(16, 16, 8), z_dim=16, w_dim=16, mapping_layers=2)
    return Generator(config)


def test_structure_and_images(source):
    imported = import_models(PKL)
    assert imported.generator.config == GeneratorConfig(
        channels=(64, 64, 32, 16), z_dim=64, w_dim=64, mapping_layers=4
    )
    errors = compare(imported.generator, FIXTURES / "nvidia_ada_32.expected.safetensors")
    assert set(errors) == {
        *("img_w", "img_w_plus", "img_truncated_0_7", "img_no_noise", "latent_avg", "w")
    }
    assert max(errors.values()) < 2e-5
    assert imported.notes == []


def test_any_size_and_mapping_depth(tiny, tmp_path):
    (tmp_path / "tiny.pkl").write_bytes(genuine.nvidia(tiny))
    imported = import_models(tmp_path / "tiny.pkl").generator
    assert imported.config == tiny.config
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(imported.state_dict()[name], tensor), name


def test_the_licence_is_what_the_source_text_says(tiny, tmp_path):
    header = "# Copyright (c) 2021, SOMEBODY.  All rights reserved.\n#\n# Use with permission.\n"
    canary = tmp_path / "canary"
    code = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
    (tmp_path / "tiny.pkl").write_bytes(genuine.nvidia(tiny, header + code))
    imported = import_models(tmp_path / "tiny.pkl")
    said = "Copyright (c) 2021, SOMEBODY. All rights reserved. Use with permission."
    assert imported.licence == said
    assert not canary.exists()
    (tmp_path / "tiny.pkl").write_bytes(genuine.nvidia(tiny, "# a comment\nimport torch\n"))
    assert import_models(tmp_path / "tiny.pkl").licence == "not stated"


def test_a_missing_average_and_a_clamp_are_noted(source):
    state = {key: t for key, t in source.tensors.items() if key != "mapping.w_avg"}
    facts = source.facts | {"synthesis.b32.conv1.conv_clamp": 256}
    generator, notes = generator_from_state(state, facts)
    assert generator.latent_avg.abs().max() > 0.5
    assert "computed" in notes[0]
    assert "256" in notes[1]


@pytest.mark.parametrize(
    ("facts", "tensors", "found"),
    [
        ({"mapping.c_dim": 10}, (), "class-conditional"),
        ({}, ("mapping.embed.weight",), "class-conditional"),
        ({}, ("synthesis.input.freqs",), "StyleGAN3"),
        ({"synthesis.b8.architecture": "resnet"}, (), "resnet"),
        ({"synthesis.b8.conv0.activation": "sigmoid"}, (), "sigmoid"),
        ({"synthesis.b8.conv0.use_noise": False}, (), "without noise"),
    ],
)
def test_other_networks_are_refused(source, facts, tensors, found):
    state = source.tensors | {key: torch.zeros(1) for key in tensors}
    with pytest.raises(IncompatibleError) as error:
        generator_from_state(state, source.facts | facts)
    assert found in error.value.found


def test_other_filters_and_tensors_are_refused(source):
    changed = source.tensors | {"synthesis.b8.conv0.resample_filter": torch.ones(4, 4)}
    with pytest.raises(ValueError, match="resample_filter"):
        generator_from_state(changed, source.facts)
    with pytest.raises(ValueError, match=r"b8\.extra"):
        generator_from_state(source.tensors | {"synthesis.b8.extra": torch.ones(1)}, source.facts)
