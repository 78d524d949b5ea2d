"""`rs-train eval calibration` on small untrained models and real renders."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rs_runtime.contracts.calibration import decode_calibration
from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.tokens import write_token_set
from rs_train.checkpoint import load_model, save_model
from rs_train.cli.eval import command
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters.build import Network, build
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.tables.calibration import AS_IS, BY_ALPHA, BY_SLOPE
from tests.train.domains.test_calibration import domain_of

ENCODERS = ("e4e", "feature_style")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of networks around one generator, and a domain."""
    folder: Path = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    shape = GeneratorConfig(channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    network = Network(image_size=32, channels=(4, 8, 8, 16), layer=1, gated=True)
    metric = MetricConfig(image_size=32, channels=(4, 6, 8), embed_dim=5, attributes=("a",))
    encoders = {name: build(name, network, shape) for name in ENCODERS}
    generator = Generator(shape)
    generator.update_latent_avg(100)
    for encoder in encoders.values():
        encoder.latent_avg.copy_(generator.latent_avg)
    models = {"generator": generator, "metric": MetricNetwork(metric), **encoders}
    for name, model in models.items():
        save_model(folder / f"{name}.safetensors", model)
    (folder / "domains").mkdir()
    write_token_set(folder / "domains" / "sketch.tokens", domain_of(generator))
    return folder


def run(models: Path, tmp_path: Path, *encoders: str):
    options = {
        "--generator": models / "generator.safetensors",
        "--metric": models / "metric.safetensors",
        "--tokens": models / "domains",
        "--held-out": tmp_path / "held-out",
        "--calibrations": tmp_path / "calibrations",
        "--out": tmp_path / "results",
        "--heads": 10,
        "--count": 2,
    }
    words = [str(word) for pair in options.items() for word in pair]
    for encoder in encoders:
        words += ["--encoder", str(models / f"{encoder}.safetensors")]
    done = CliRunner().invoke(command, ["calibration", *words])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_page_plots_and_a_calibration_of_each_encoder(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path, *ENCODERS)
    generator = load_model(models / "generator.safetensors")
    rows = json.loads((tmp_path / "results" / "calibration.json").read_text())["rows"]
    layers = [row for row in rows if "alpha" in row]
    assert len(layers) == len(ENCODERS) * len(generator.table.layers)
    pictures = [row for row in rows if "distance" in row]
    assert [(row["encoder"], row["domain"]) for row in pictures] == [
        (e, "sketch") for e in ENCODERS
    ]
    assert all(set(row["distance"]) == {AS_IS, BY_ALPHA, BY_SLOPE} for row in pictures)
    for name in ("styles", "deviations"):
        assert (tmp_path / "results" / f"calibration-{name}.png").stat().st_size > 5000
    for encoder in ENCODERS:
        path = tmp_path / "calibrations" / f"{encoder}.calibration.json"
        own = decode_calibration(
            path.read_bytes(),
            table=generator.table,
            fingerprint=generator.fingerprint(),
            name_hint=path.name,
        )
        checkpoint = (models / f"{encoder}.safetensors").read_bytes()
        assert (own.encoder_kind, own.encoder_sha256) == (encoder, sha256_hex(checkpoint))
        mine = {row["layer"]: row["alpha"] for row in layers if row["encoder"] == encoder}
        assert {name: layer.alpha for name, layer in own.layers.items()} == mine


def test_what_is_no_encoder_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match="not an encoder"):
        run(models, tmp_path, "metric")
