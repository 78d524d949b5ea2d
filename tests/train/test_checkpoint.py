"""Model files: round trip, refusals."""

import json

import pytest
import safetensors.torch
import torch

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_train.checkpoint import load_model, read_record, save_model
from rs_train.generator import Generator, GeneratorConfig
from rs_train.perceptual.arcface import ArcFace, ArcFaceConfig


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return Generator(GeneratorConfig(channels=(8, 8), z_dim=8, w_dim=8, mapping_layers=2))


def test_round_trip(tmp_path, generator):
    save_model(tmp_path / "g.safetensors", generator, {"licence": "Apache-2.0"})
    loaded = load_model(tmp_path / "g.safetensors", expect="generator")
    assert loaded.config == generator.config
    assert loaded.fingerprint() == generator.fingerprint()
    assert not loaded.training
    assert read_record(tmp_path / "g.safetensors")["record"] == {"licence": "Apache-2.0"}


def test_half_precision_storage_halves_the_file(tmp_path, generator):
    save_model(tmp_path / "a.safetensors", generator)
    save_model(tmp_path / "b.safetensors", generator, dtype=torch.float16)
    sizes = [(tmp_path / name).stat().st_size for name in ("a.safetensors", "b.safetensors")]
    assert sizes[1] < 0.7 * sizes[0]
    loaded = load_model(tmp_path / "b.safetensors")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def test_another_kind_is_refused(tmp_path):
    arcface = ArcFace(ArcFaceConfig(image_size=32, channels=(6, 8), embed_dim=4))
    save_model(tmp_path / "a.safetensors", arcface)
    with pytest.raises(IncompatibleError, match="arcface"):
        load_model(tmp_path / "a.safetensors", expect="generator")


def test_foreign_and_damaged_files_are_refused(tmp_path, generator):
    path = tmp_path / "g.safetensors"
    (tmp_path / "text").write_text("hello")
    with pytest.raises(MalformedFileError):
        load_model(tmp_path / "text")
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(MalformedFileError, match="rs-train"):
        load_model(path)
    save_model(path, generator)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(MalformedFileError):
        load_model(path)


def test_tensors_must_fit_the_configuration(tmp_path, generator):
    path = tmp_path / "g.safetensors"
    save_model(path, generator)
    header = read_record(path)
    header["config"]["channels"] = [8, 16]
    tensors = safetensors.torch.load(path.read_bytes())
    path.write_bytes(safetensors.torch.save(tensors, {"refinestyle": json.dumps(header)}))
    with pytest.raises(MalformedFileError) as error:
        load_model(path)
    assert "b8_conv0" in error.value.found, "the message names what does not fit"
