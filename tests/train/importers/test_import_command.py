"""rs-train import: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from rs_runtime.contracts.errors import MalformedFileError, NumericsError
from rs_train.checkpoint import load_model, read_record
from rs_train.cli.import_ import command
from tests.train.importers import genuine

FIXTURES = Path(__file__).parents[2] / "fixtures"
EXPECTED = FIXTURES / "rosinality_32.expected.safetensors"


def run(*arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", ["rosinality_32.pt", "nvidia_ada_32.pkl"])
def test_a_generator_is_written_after_its_images_were_compared(tmp_path, name):
    expected = FIXTURES / f"{name.partition('.')[0]}.expected.safetensors"
    out = tmp_path / "new" / "generator.safetensors"
    text = run(FIXTURES / name, "--out", out, "--verify", expected, "--licence", "CC0")
    assert "img_w_plus: largest error" in text
    assert "channels 64-64-32-16, mapping_layers 4" in text
    record = read_record(out)["record"]
    generator = load_model(out, "generator")
    assert record["licence"] == "CC0"
    assert record["fingerprint"] == generator.fingerprint()
    assert record["source"]["file"] == name
    assert len(record["source"]["sha256"]) == 64


def test_an_encoder_goes_beside_its_generator(tmp_path):
    checkpoint = genuine.checkpoint("e4e", genuine.small(genuine.shapes_of("e4e")))
    torch.save(checkpoint, tmp_path / "e4e_ffhq.pt")
    report = json.loads(run(tmp_path / "e4e_ffhq.pt", "--json"))
    assert [model["kind"] for model in report["models"]] == ["generator", "e4e"]
    assert report["licence"] == "not stated"
    assert "device" not in report["options"]
    generator = load_model(tmp_path / "e4e_ffhq.safetensors", "generator")
    encoder = load_model(tmp_path / "e4e_ffhq.e4e.safetensors", "e4e")
    record = read_record(tmp_path / "e4e_ffhq.e4e.safetensors")["record"]
    assert record["generator_fingerprint"] == generator.fingerprint()
    assert record["fingerprint"] != generator.fingerprint()
    assert encoder.config.num_ws == generator.num_ws


def test_other_images_are_refused_and_nothing_is_written(tmp_path):
    out = tmp_path / "generator.safetensors"
    out.write_bytes(b"what was there")
    tensors = safetensors.torch.load_file(EXPECTED)
    tensors["img_w"][1, 2, 3, 4] += 2e-4
    safetensors.torch.save_file(tensors, tmp_path / "changed.safetensors")
    with pytest.raises(NumericsError, match="in img_w,"):
        run(
            FIXTURES / "rosinality_32.pt",
            "--out",
            out,
            "--verify",
            tmp_path / "changed.safetensors",
        )
    assert out.read_bytes() == b"what was there"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image": torch.zeros(1)}, "image"),
        ({"img_w": torch.zeros(1, 3, 32, 32)}, "img_w"),
        ({"w_plus": torch.zeros(1, 8, 63)}, "img_w_plus"),
    ],
)
def test_a_reference_file_of_another_kind_is_refused(tmp_path, change, named):
    tensors = safetensors.torch.load_file(EXPECTED) | change
    safetensors.torch.save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(MalformedFileError, match=named):
        run(
            *(FIXTURES / "rosinality_32.pt", "--out", tmp_path / "out.safetensors"),
            *("--verify", tmp_path / "other.safetensors"),
        )
    assert not (tmp_path / "out.safetensors").exists()


def test_nan_in_a_reference_is_no_agreement(tmp_path):
    tensors = safetensors.torch.load_file(EXPECTED)
    tensors["img_w"][0, 0, 0, 0] = torch.nan
    safetensors.torch.save_file(tensors, tmp_path / "nan.safetensors")
    with pytest.raises(NumericsError):
        run(
            *(FIXTURES / "rosinality_32.pt", "--out", tmp_path / "out.safetensors"),
            *("--verify", tmp_path / "nan.safetensors"),
        )


def test_texts_of_the_file_cannot_drive_the_terminal(tmp_path):
    from rs_train.generator import Generator, GeneratorConfig

    tiny = Generator(GeneratorConfig(channels=(8, 8), z_dim=8, w_dim=8, mapping_layers=1))
    data = genuine.nvidia(tiny, "# Licence \x1b[2J free\nimport os\n")
    (tmp_path / "tiny.pkl").write_bytes(data)
    text = run(tmp_path / "tiny.pkl")
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
