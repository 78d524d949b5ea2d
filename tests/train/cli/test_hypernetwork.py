"""rs-train hypernetwork on models of a few thousand weights, and its presets."""

import tomllib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rs_runtime.contracts.errors import UsageError
from rs_train.checkpoint import load_model, save_model
from rs_train.cli.hypernetwork import command
from rs_train.config import load
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters import StyleTransformer, StyleTransformerConfig
from rs_train.perceptual.clip import Clip, ClipConfig
from rs_train.portraits.domains import domain_style
from rs_train.portraits.folder import RenderSettings, render_folder
from rs_train.portraits.looks import SEEN
from rs_train.tasks.hypernetwork_config import HypernetworkRun

LOOKS = ("sketch", "oil")
PRESET = """
[network]
embed_dim = 8
width = 8
[training]
mixtures = 1
[weights]
l1 = 1.0
[pool]
random_heads = 2
[loop]
steps = 2
batch_size = 2
sample_every = 2
[domains]
sketch = ["a toned pencil sketch"]
oil = ["an oil painting", "oil on canvas"]
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator, a base inverter, a CLIP, three portraits and the same in two looks."""
    path = tmp_path_factory.mktemp("work")
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
    clip = Clip(ClipConfig(image_size=32, embed_dim=8, vision_width=8, context_length=16))
    for model in (generator, base, clip):
        save_model(path / f"{model.kind}.safetensors", model)
    for domain in ("photo", *LOOKS):
        folder = path / domain if domain == "photo" else path / "looks" / domain
        settings = RenderSettings(3, 32, 7, domain, extras=False, masks=False)
        for _ in render_folder(folder, settings, workers=1):
            pass
    (path / "tiny.toml").write_text(PRESET)
    return path


def run(work: Path, *args: object) -> str:
    models = ("--generator", work / "generator.safetensors", "--clip", work / "clip.safetensors")
    own = ("--preset", work / "tiny.toml", "--out", work / "h.safetensors", *models)
    result = CliRunner().invoke(command, [str(arg) for arg in (*own, *args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def portraits(work: Path) -> tuple[object, ...]:
    inverter = ("--base-inverter", work / "style_transformer.safetensors")
    return ("--portraits", work / "photo", *inverter)


def test_pictures_and_texts_train_a_network(work: Path) -> None:
    run(work, "--run", work / "run", "--pictures", work / "looks", *portraits(work))
    network = load_model(work / "h.safetensors", expect="hypernetwork")
    assert network.config.generator == load_model(work / "generator.safetensors").fingerprint()
    assert (work / "run/samples/0000002.png").exists()


def test_texts_alone_train_a_network(work: Path) -> None:
    run(work, "--run", work / "alone", "--set", "network.predicts=tokens")
    assert load_model(work / "h.safetensors").config.predicts == "tokens"


def test_pictures_without_portraits_are_refused(work: Path) -> None:
    with pytest.raises(UsageError, match="--pictures show --portraits"):
        run(work, "--run", work / "no", "--pictures", work / "looks")
    (work / "few").mkdir()
    (work / "few/0.png").write_bytes((work / "photo/000000.png").read_bytes())
    few = ("--portraits", work / "few", *portraits(work)[2:])
    with pytest.raises(UsageError, match="more than --portraits"):
        run(work, "--run", work / "no", "--pictures", work / "looks", *few)


def test_the_demo_knows_the_seen_looks_by_the_renderer_s_words() -> None:
    config = load(HypernetworkRun, "demo_hypernetwork")
    assert tuple(config.domains) == SEEN
    for look, wordings in config.domains.items():
        assert wordings[0] == f"{domain_style(look).phrase} of a person"
        assert len(set(wordings)) == len(wordings) > 4


def test_published_recipe_mixes_twenty_texts_and_nothing_else() -> None:
    config = load(HypernetworkRun, "ffhq_hypernetwork")
    assert len(config.domains) == 20
    assert config.training.mixtures == config.loop.batch_size == 8
    own = Path(__file__).parents[3] / "rs_train/presets/ffhq_hypernetwork.toml"
    assert tomllib.loads(own.read_text())["weights"] == {"direction": 1.0, "target_direction": 0.4}
