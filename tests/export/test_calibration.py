"""The calibration beside an inverter's checkpoint becomes a file of the bundle."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import rs_runtime
from rs_export.export import ExportedModel
from rs_export.pack import pack
from rs_export.sources import find_sources, load_parts
from rs_runtime.contracts.calibration import Calibration, LayerCalibration, encode_calibration
from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.files import sha256_hex
from tests.export.tiny_model import tiny_generator


@pytest.fixture
def folder(checkpoints: Path, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoints, tmp_path / "checkpoints")


def calibration(folder: Path) -> Calibration:
    generator = tiny_generator()
    layers = {layer.name: LayerCalibration(1.25, 0.5) for layer in generator.table.layers}
    digest = sha256_hex((folder / "base_inverter.safetensors").read_bytes())
    return Calibration("style_transformer", digest, generator.fingerprint(), 100, layers)


def test_it_is_shipped(folder: Path, exported: ExportedModel, tmp_path: Path) -> None:
    assert load_parts(find_sources("two_stage", [folder])).calibration is None
    known = calibration(folder)
    (folder / "base_inverter.calibration.json").write_bytes(encode_calibration(known))
    sources = find_sources("two_stage", [folder])
    pack(tmp_path / "bundle", sources, load_parts(sources), exported, "tests")
    runtime = rs_runtime.load(tmp_path / "bundle")
    assert runtime.calibration == known
    assert load_parts(find_sources("generator", [folder])).calibration is None


def test_that_of_another_encoder_is_refused(folder: Path) -> None:
    other = replace(calibration(folder), encoder_sha256="0" * 64)
    (folder / "base_inverter.calibration.json").write_bytes(encode_calibration(other))
    with pytest.raises(IncompatibleError, match="of another base_inverter"):
        load_parts(find_sources("two_stage", [folder]))
