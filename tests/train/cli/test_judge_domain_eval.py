"""rs-train judge, domain and eval on models of a few thousand weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rs_runtime.contracts.errors import RefineStyleError, UsageError
from rs_runtime.contracts.tokens import read_token_set
from rs_train.checkpoint import load_model, save_model
from rs_train.cli.domain import command as domain
from rs_train.cli.eval import command as evaluate
from rs_train.cli.judge import command as judge
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters import Refiner, RefinerConfig, StyleTransformer, StyleTransformerConfig
from rs_train.perceptual.arcface import ArcFace, ArcFaceConfig
from rs_train.perceptual.metric import MetricConfig, MetricNetwork
from rs_train.portraits.folder import RenderSettings, render_folder

SHORT = ("--set", "loop.steps=2", "--set", "loop.batch_size=2", "--set", "loop.sample_every=0")
SMALL = ("--set", "model.image_size=32", "--set", "model.channels=[4, 8]")


def run(command: object, *args: object) -> str:
    """Invoke a command; its own errors are raised."""
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a 32 x 32 generator, inverters for it and a metric network."""
    path = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    generator = Generator(
        GeneratorConfig(channels=(16, 16, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    )
    generator.update_latent_avg(samples=100)
    trunk = {"image_size": 32, "channels": (4, 8, 8, 16), "heads": 2}
    base = StyleTransformer(
        StyleTransformerConfig(num_ws=generator.num_ws, z_dim=16, w_dim=16, **trunk)
    )
    base.bake(generator.mapping)
    shapes = tuple((c.in_channels, c.out_channels) for c in generator.table.convs)
    refiner = Refiner(RefinerConfig(conv_channels=shapes, refined_layers=7, rank=2, **trunk))
    metric = MetricNetwork(MetricConfig(image_size=32, channels=(4, 8), attributes=("a",)))
    for model in (generator, base, refiner, metric):
        save_model(path / f"{model.kind}.safetensors", model)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rendered portraits, 32 x 32."""
    path = tmp_path_factory.mktemp("photos")
    list(render_folder(path, RenderSettings(4, 32, 5, "photo", False, False), 1))
    return path


def test_judge_writes_a_model(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "arcface.safetensors"
    run(judge, "arcface", "--data", photos, "--run", tmp_path / "r", "--out", out, *SHORT, *SMALL)
    assert load_model(out, expect="arcface").config.channels == (4, 8)


def test_domain_from_references_and_from_pairs(models: Path, photos: Path, tmp_path: Path) -> None:
    generator = models / "generator.safetensors"
    shared = ("--generator", generator, *SHORT, "--references", photos)
    pool = ("--set", "pool.random_heads=4")
    out = tmp_path / "new" / "domains" / "drawn.tokens"
    licence = ("--set", "loop.licence=CC0-1.0", "--name", "drawn (again)")
    run(domain, "--out", out, "--run", tmp_path / "guided", *shared, *pool, *licence)
    loaded = load_model(generator)
    tokens = read_token_set(out, table=loaded.table, fingerprint=loaded.fingerprint())
    assert (tokens.name, tokens.rank) == ("drawn _again_", 8)
    assert "4 references" in tokens.source
    assert tokens.licence == "CC0-1.0"

    inverted = ("--portraits", photos, "--base-inverter", models / "style_transformer.safetensors")
    inverted += (
        "--refiner",
        models / "refiner.safetensors",
        "--codes",
        tmp_path / "kept" / "codes",
    )
    pairs = ("--paired", "--preset", "demo_ceiling")
    out = tmp_path / "pairs.tokens"
    run(domain, "--out", out, "--run", tmp_path / "paired", *shared, *inverted, *pairs)
    assert out.exists() and (tmp_path / "kept" / "codes").exists()


def test_one_reference_as_tokens_and_as_a_generator(
    models: Path, photos: Path, tmp_path: Path
) -> None:
    arcface = tmp_path / "arcface.safetensors"
    save_model(arcface, ArcFace(ArcFaceConfig(image_size=32, channels=(4, 8), embed_dim=4)))
    generator = models / "generator.safetensors"
    shared = (
        *("--generator", generator, "--reference", sorted(photos.glob("*.png"))[0], *SHORT),
        *("--base-inverter", models / "style_transformer.safetensors", "--arcface", arcface),
        *("--refiner", models / "refiner.safetensors", "--set", "pool.random_heads=4"),
        *("--set", "one_shot.coarse_rows=4"),
    )
    out = tmp_path / "one.tokens"
    start = ("--set", "one_shot.start_from_reference=true")
    run(domain, *shared, *start, "--run", tmp_path / "tokens", "--out", out)
    loaded = load_model(generator)
    tokens = read_token_set(out, table=loaded.table, fingerprint=loaded.fingerprint())
    assert (tokens.name, tokens.kind) == ("one", "domain") and "1 references" in tokens.source

    full = (*shared, "--parameterisation", "full", "--run", tmp_path / "full", "--out")
    with pytest.raises(UsageError, match="not what this run writes"):
        run(domain, *full, out)
    run(domain, *full, tmp_path / "one.safetensors")
    adapted = load_model(tmp_path / "one.safetensors", expect="generator")
    assert adapted.fingerprint() != loaded.fingerprint()
    assert adapted.config == loaded.config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing describes the domain"),
        (("--reference", "x"), "must be inverted"),
        (("--reference", "x", "--prompt", "y"), "whole description"),
        (("--prompt", "a sketch", "--clip", "x=heavy"), "not a number"),
        (("--prompt", "a sketch"), "--clip"),
        (("--references", "x", "--paired"), "--portraits"),
        (("--references", "x", "--codes", "missing"), "no such file"),
        (("--references", "x", "--portraits", "y"), "--base-inverter"),
    ],
)
def test_options_that_leave_nothing_to_train_on(
    models: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    required = ("--generator", models / "generator.safetensors", "--run", tmp_path / "run")
    with pytest.raises(UsageError) as caught:
        run(domain, *required, "--out", tmp_path / "x.tokens", *options)
    assert message in str(caught.value)


def test_a_references_count_that_is_not_the_portraits(
    models: Path, photos: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(few / "0.png")
    with pytest.raises(RefineStyleError, match="one reference a portrait"):
        run(
            domain,
            *("--generator", models / "generator.safetensors", "--references", few, "--paired"),
            *("--portraits", photos, "--run", tmp_path / "run", "--out", tmp_path / "x.tokens"),
            *("--base-inverter", models / "style_transformer.safetensors"),
        )


def test_eval_writes_both_tables(models: Path, photos: Path, tmp_path: Path) -> None:
    generator = models / "generator.safetensors"
    for folder in ("ours", "ceilings"):
        out = tmp_path / folder / "sketch.tokens"
        out.parent.mkdir()
        run(
            domain,
            *("--generator", generator, "--references", photos, *SHORT, "--out", out),
            *("--run", tmp_path / f"run-{folder}", "--set", "pool.random_heads=4"),
            *("--set", f"training.lr={1.0 if folder == 'ceilings' else 0.1}"),
        )
    shared = (
        *("--generator", generator, "--metric", models / "metric.safetensors"),
        *("--base-inverter", models / "style_transformer.safetensors"),
        *("--refiner", models / "refiner.safetensors", "--held-out", tmp_path / "held-out"),
        *("--out", tmp_path / "results", "--count", 3),
    )
    control = ("--control", models / "style_transformer.safetensors")
    table = run(evaluate, "inversion", *shared, *control, "--extras-count", 2)
    assert "with extras" in table
    rows = json.loads((tmp_path / "results" / "inversion.json").read_text())["rows"]
    assert [row["measured"]["count"] for row in rows] == [3, 3, 3, 2, 2, 2]
    assert rows[0]["mse_ratio"] == rows[1]["mse_ratio"] == 1  # the control is the base itself

    sets = ("--tokens", tmp_path / "ours", "--ceilings", tmp_path / "ceilings")
    table = run(evaluate, "domains", *shared, *sets)
    assert "unadapted source" in table
    rows = json.loads((tmp_path / "results" / "domains.json").read_text())["rows"]
    assert [row["domain"] for row in rows] == ["sketch"] * 4
    assert (tmp_path / "results" / "domains.md").read_text().startswith("# Domains")
