"""The one-stage model, and two-stage on bases with style heads: exported, then run as a user does.

Trunks are short here, see `tiny_model.short_trunk`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from rs_export.cli import command as rs_export
from rs_export.forms import expand
from rs_export.graphs.base_inverter import base_inverter_role
from rs_export.graphs.role import TracedRole
from rs_export.parity import run_graph
from rs_export.portable import finish
from rs_export.sources import find_sources, load_parts
from rs_runtime.cli import run
from rs_runtime.cli.invert import command as rs_run_invert
from rs_runtime.contracts.bundle import read_bundle
from rs_runtime.contracts.tokens import write_token_set
from rs_runtime.pipeline import load
from rs_train.checkpoint import load_model, save_model
from rs_train.generator import Generator, PackedTokens
from rs_train.inverters import E4E, OneStage, OneStageConfig, StyleHeadsConfig
from rs_train.inverters.build import Network, build
from tests.export.tiny_model import (
    RANK,
    SIZE,
    WIDTHS,
    domain_of,
    save_checkpoints,
    short_trunk,
    tiny_generator,
)


def call(command, name: str, *arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        run(command, name, [str(argument) for argument in arguments])
    return end.value.code


def convs(generator: Generator) -> tuple[tuple[int, int], ...]:
    return tuple((conv.in_channels, conv.out_channels) for conv in generator.table.convs)


def head_sizes(generator: Generator) -> dict:
    return {
        "image_size": SIZE, "num_ws": generator.num_ws, "w_dim": 16, "channels": WIDTHS["channels"]
    }  # fmt: skip


@pytest.fixture
def traced_before(traced: dict[str, onnx.ModelProto]) -> Iterator[None]:
    """Graphs of the shared generator and refiner come from the one tracing of all tests here."""
    trace = TracedRole.intermediate

    def intermediate(role: TracedRole) -> onnx.ModelProto:
        shared = role.name in ("mapping", "synthesis", "refiner")
        return traced[role.name] if shared else trace(role)

    with mock.patch.object(TracedRole, "intermediate", intermediate):
        yield


@pytest.fixture
def one_stage(tmp_path) -> Path:
    """Checkpoints of a one-stage model."""
    folder = tmp_path / "one_stage"
    folder.mkdir()
    generator = tiny_generator()
    torch.manual_seed(5)
    config = OneStageConfig(
        image_size=SIZE, num_ws=generator.num_ws, z_dim=16, w_dim=16, **WIDTHS,
        conv_channels=convs(generator), refined_layers=3, rank=RANK, token_scale_init=0.4,
    )  # fmt: skip
    model = OneStage(config)
    model.base.start_from(generator.latent_avg, torch.full((16,), 0.3))
    model.bake(generator.mapping)
    save_model(folder / "generator.safetensors", generator)
    save_model(folder / "inverter.safetensors", model, {"licence": "CC0-1.0"})
    (folder / "domains").mkdir()
    write_token_set(folder / "domains" / "sketch.tokens", domain_of(generator, "sketch"))
    return folder


@pytest.fixture
def photo(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (40, 33, 3), np.uint8)).save(path)
    return path


@pytest.mark.usefixtures("traced_before")
def test_one_stage_from_checkpoint_to_picture(one_stage, photo, tmp_path, capsys) -> None:
    out = tmp_path / "bundle"
    arguments = ("--model=one_stage", "--fp16", "--checkpoint", one_stage, "--out", out)
    assert call(rs_export, "rs-export", *arguments) == 0
    bundle = read_bundle(out)
    bundle.verify()
    manifest = bundle.manifest
    assert (manifest.model, manifest.rank) == ("one_stage", RANK)
    assert set(manifest.roles) == {"preprocess", "mapping", "inverter", "synthesis"}
    assert [spec.name for spec in manifest.roles["inverter"].outputs] == ["w_plus", "P", "Q"]
    assert "inversion" in manifest.parity
    assert manifest.licences["inverter"] == "CC0-1.0"
    capsys.readouterr()

    made = tmp_path / "made.png"
    code = call(
        rs_run_invert, "rs-run invert", photo, "--domain", "sketch", "--bundle", out,
        "--out", made, "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(capsys.readouterr().out)[0]["failure"] is None
    assert np.asarray(Image.open(made)).shape == (32, 32, 3)

    runtime = load(out)
    inversion = runtime.invert(photo, check=False)
    generator = load_model(one_stage / "generator.safetensors")
    model = load_model(one_stage / "inverter.safetensors")
    image = torch.from_numpy(inversion.input).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        codes = model(image)
        refined = generator.synthesis(codes.w_plus, PackedTokens(P=codes.P, Q=codes.Q))
        plain = generator.synthesis(codes.w_plus)
    for found, expected in (
        (inversion.reconstruction, refined),
        (inversion.first_inversion, plain),
    ):
        pixels = ((expected[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().numpy()
        assert np.abs(found.astype(float) - pixels).max() <= 2
    assert not np.array_equal(inversion.reconstruction, inversion.first_inversion)
    assert not np.array_equal(np.asarray(Image.open(made)), inversion.reconstruction)


@pytest.fixture
def e4e(checkpoints, tmp_path) -> Path:
    """An e4e for the generator of the shared checkpoints."""
    generator = load_model(checkpoints / "generator.safetensors")
    torch.manual_seed(6)
    with short_trunk():
        base = E4E(StyleHeadsConfig(**head_sizes(generator)))
    base.latent_avg.copy_(generator.latent_avg.expand_as(base.latent_avg))
    save_model(tmp_path / "e4e.safetensors", base)
    return tmp_path / "e4e.safetensors"


def test_e4e_is_a_base_inverter(e4e, checkpoints) -> None:
    parts = load_parts(find_sources("two_stage", [checkpoints, e4e]))
    assert (set(parts.others), parts.others["base_inverter"].kind) == (
        {"base_inverter", "refiner"}, "e4e"
    )  # fmt: skip
    role = base_inverter_role(parts.others["base_inverter"])
    graph = finish(expand(role.intermediate()), role.name).SerializeToString()
    image = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    found = run_graph(role.name, graph, {"image": image})["w_plus"]
    expected = role.reference({"image": image})["w_plus"]
    assert np.abs(found - expected).max() < 1e-4
    assert expected.std(0).max() > 1e-3


@pytest.mark.nightly
@pytest.mark.usefixtures("traced_before")
def test_two_stage_on_e4e(e4e, checkpoints, photo, tmp_path) -> None:
    out = tmp_path / "bundle"
    arguments = ("--checkpoint", checkpoints, "--checkpoint", e4e, "--out", out)
    with short_trunk():
        assert call(rs_export, "rs-export", "--model=two_stage", *arguments) == 0
    inversion = load(out).invert(photo, check=False)
    image = torch.from_numpy(inversion.input).permute(2, 0, 1)[None].float() / 127.5 - 1
    with short_trunk(), torch.no_grad():
        expected = load_model(e4e)(image).numpy()[0]
    assert np.abs(inversion.w_plus - expected).max() < 1e-3
    assert not np.array_equal(inversion.reconstruction, inversion.first_inversion)


@pytest.mark.parametrize("model", ["restyle", "hyperstyle", "hfgi"])
def test_what_is_there_to_be_compared_is_not_exported(model, tmp_path, capsys) -> None:
    file = tmp_path / f"{model}.safetensors"
    save_model(file, build(model, Network(image_size=32, **WIDTHS), tiny_generator().config))
    arguments = ("--checkpoint", file, "--out", tmp_path / "b")
    assert call(rs_export, "rs-export", "--model=two_stage", *arguments) == 5
    assert f"kind {model}, it " in capsys.readouterr().err


def test_a_one_stage_inverter_of_another_generator_is_refused(one_stage, tmp_path, capsys) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_checkpoints(other)
    model = load_model(one_stage / "inverter.safetensors")
    save_model(other / "inverter.safetensors", model, {"generator_fingerprint": "0" * 64})
    arguments = ("--model=one_stage", "--checkpoint", other, "--out", tmp_path / "b")
    assert call(rs_export, "rs-export", *arguments) == 5
    assert "another generator" in capsys.readouterr().err
