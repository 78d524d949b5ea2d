"""Training of the inverters: what changes, what does not, and that the loss falls."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_train.checkpoint import load_model, save_model
from rs_train.cli.inverter import command as inverter_command
from rs_train.cli.options import shares
from rs_train.config import load
from rs_train.data import ImageFolder
from rs_train.inverters.build import Network
from rs_train.inverters.mixture import Mixture
from rs_train.loop import LoopConfig, run
from rs_train.perceptual.arcface import ArcFace, ArcFaceConfig
from rs_train.tasks.base_inverter import StyleTransformerTask
from rs_train.tasks.image_losses import LossNetworks
from rs_train.tasks.inverter import InverterRun, InverterTraining, learning_rate
from rs_train.tasks.two_stage import TwoStageTask

LOOP = LoopConfig(steps=100, batch_size=2, log_every=1, sample_every=2, checkpoint_every=1)
TRAINING = InverterTraining(
    optimizer="adam", lr=0.003, generated=2, latent=0.5, validate_every=1, precision="fp32"
)
RUN = InverterRun(
    network=Network(image_size=32, channels=(4, 8, 8, 16), heads=2, rank=3, token_scale_init=0.1),
    training=TRAINING,
    loop=LOOP,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Six smooth 32 × 32 pictures."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(6):
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def judge() -> ArcFace:
    torch.manual_seed(3)
    return ArcFace(ArcFaceConfig(image_size=32, channels=(4, 8, 8, 8), embed_dim=8)).eval()


def state(*models: torch.nn.Module) -> list[torch.Tensor]:
    return [t.clone() for model in models for t in model.state_dict().values()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def batch(photos: Path) -> dict[str, torch.Tensor]:
    folder = ImageFolder(photos, 32)
    return folder.batch(range(4))


def test_base_step_moves_the_inverter_alone(photos, generator, judge, tmp_path):
    task = StyleTransformerTask(
        RUN,
        generator,
        tmp_path / "base",
        networks=LossNetworks(judge=judge),
        validation=ImageFolder(photos, 32),
    )
    frozen, trained = state(generator, judge), [p.clone() for p in task.model.parameters()]
    figures = task.step(0, batch(photos))
    assert same(frozen, state(generator, judge))
    # A key bias shifts all scores of a query alike, which softmax forgets.
    names = [n for n, _ in task.model.named_parameters() if not n.endswith("key.bias")]
    now = dict(task.model.named_parameters())
    before = dict(zip(now, trained, strict=True))
    assert [n for n in names if torch.equal(before[n], now[n])] == []
    assert set(figures) == {
        "loss", "l2", "perceptual", "identity", "latent", "validation_base",
    }  # fmt: skip
    expected = figures["l2"] + 0.8 * figures["perceptual"]
    expected += 0.1 * figures["identity"] + 0.5 * figures["latent"]
    assert figures["loss"] == pytest.approx(expected, rel=1e-5)


def test_refiner_step_moves_the_refiner_alone(photos, generator, base, judge, tmp_path):
    task = TwoStageTask(
        RUN, generator, tmp_path / "refiner", base=base, networks=LossNetworks(judge=judge)
    )
    frozen, trained = state(generator, base, judge), state(task.model)
    figures = task.step(0, batch(photos))
    assert same(frozen, state(generator, base, judge))
    assert not same(trained, state(task.model))
    assert set(figures) == {"loss", "l2", "perceptual", "identity"}


def test_losses_without_a_judge_are_the_image_alone(photos, generator, base, tmp_path):
    task = TwoStageTask(RUN, generator, tmp_path / "refiner", base=base)
    figures = task.step(0, batch(photos))
    assert figures["loss"] == figures["l2"]


def test_mapping_learns_only_when_told(photos, generator, tmp_path):
    for is_trained in (False, True):
        training = replace(TRAINING, train_mapping=is_trained)
        task = StyleTransformerTask(replace(RUN, training=training), generator, tmp_path / "base")
        before = state(generator.mapping_network)
        synthesis = state(generator.synthesis)
        task.step(0, batch(photos))
        assert same(before, state(generator.mapping_network)) is not is_trained
        assert same(synthesis, state(generator.synthesis))


@pytest.mark.parametrize("optimizer", ["adam", "ranger"])
def test_base_overfits_a_few_photos(photos, generator, optimizer, tmp_path):
    training = replace(TRAINING, optimizer=optimizer, generated=0, validate_every=0)
    task = StyleTransformerTask(replace(RUN, training=training), generator, tmp_path / "base")
    first = task.step(0, batch(photos))["l2"]
    last = [task.step(step, batch(photos))["l2"] for step in range(1, 36)][-1]
    assert last < 0.6 * first


def test_refiner_overfits_a_few_photos(photos, generator, base, tmp_path):
    training = replace(TRAINING, validate_every=0)
    task = TwoStageTask(replace(RUN, training=training), generator, tmp_path / "refiner", base=base)
    task.validation = ImageFolder(photos, 32)
    plain = task.validate()["validation_base"]
    first = task.step(0, batch(photos))["l2"]
    last = [task.step(step, batch(photos))["l2"] for step in range(1, 30)][-1]
    assert last < 0.6 * min(first, plain)


def test_bf16_step_is_finite(photos, generator, base, judge, tmp_path):
    config = replace(RUN, training=replace(TRAINING, precision="bf16"))
    for task in (
        StyleTransformerTask(
            config, generator, tmp_path / "base", networks=LossNetworks(judge=judge)
        ),
        TwoStageTask(
            config, generator, tmp_path / "refiner", base=base, networks=LossNetworks(judge=judge)
        ),
    ):
        figures = task.step(0, batch(photos))
        assert np.isfinite(list(figures.values())).all()


def test_validation_is_the_error_of_each_stage(photos, generator, base, tmp_path):
    folder = ImageFolder(photos, 32)
    task = TwoStageTask(RUN, generator, tmp_path / "refiner", base=base, validation=folder)
    photo = folder.images(range(6))
    with torch.no_grad():
        first = generator.synthesis(base(photo)).clamp(-1, 1)
    found = task.validate()
    assert found["validation_base"] == pytest.approx(
        (first - photo).square().mean().item(), rel=1e-4
    )
    assert set(found) == {"validation_base", "validation_refined"}


def test_samples_show_photo_and_stages(photos, generator, base, tmp_path):
    folder = ImageFolder(photos, 32)
    task = TwoStageTask(RUN, generator, tmp_path / "refiner", base=base, validation=folder)
    picture = task.samples()
    assert picture.shape == (3 * 32, 2 * 3 * 32, 3)
    assert np.array_equal(picture[:32, :32], folder.pixels([0])[0])
    assert np.array_equal(picture[:32, 96:128], folder.pixels([1])[0])


def test_interrupted_run_ends_like_one_in_a_piece(photos, generator, tmp_path):
    data = Mixture({photos: 1.0}, 32)
    training = replace(TRAINING, validate_every=0)
    outputs = []
    for name, lengths in (("whole", (4,)), ("parts", (2, 4))):
        for steps in lengths:
            config = replace(RUN, training=training, loop=replace(LOOP, steps=steps))
            task = StyleTransformerTask(config, copy.deepcopy(generator), tmp_path / f"{name}.st")
            run(task, data, config.loop, tmp_path / name, quiet=True)
        outputs.append(state(load_model(tmp_path / f"{name}.st")))
    assert same(*outputs)


def test_base_of_another_generator_is_refused(generator, base, tmp_path):
    base.config = replace(base.config, num_ws=18)
    with pytest.raises(IncompatibleError, match="18×16"):
        TwoStageTask(RUN, generator, tmp_path / "refiner", base=base)


def test_learning_rate_warms_up_stays_and_decays():
    training = InverterTraining(lr=1.0, warmup=4, decay_from=0.5)
    rates = [learning_rate(step, 100, training) for step in (0, 3, 20, 50, 75, 100)]
    assert rates == pytest.approx([0.25, 1, 1, 1, 0.5, 0], abs=1e-6)
    assert learning_rate(99, 100, replace(training, decay_from=1.0)) == 1


def test_mixture_keeps_the_shares(photos, tmp_path):
    extra = tmp_path / "extra"
    extra.mkdir()
    Image.new("RGB", (32, 32)).save(extra / "black.png")
    mixture = Mixture({photos: 1.0, extra: 1.0}, 32)
    is_black = (mixture.images(range(len(mixture))) == -1).all(dim=(1, 2, 3)).tolist()
    assert len(mixture) == 14
    assert sum(is_black) == 7
    assert mixture.batch([3])["index"].tolist() == [3]
    assert len(Mixture({photos: 1.0}, 32, flip=False)) == 6


@pytest.mark.parametrize("weights", [{}, {"photos": 0.0}])
def test_mixture_refuses_impossible_shares(weights):
    with pytest.raises(UsageError, match="cannot be mixed"):
        Mixture(weights, 32)


def test_weights_on_the_command_line(tmp_path):
    odd = tmp_path / "a=b"
    odd.mkdir()
    texts = (str(odd), "x=0.5", f"{odd}=2", "y")
    assert shares("--data", texts) == {str(odd): 2.0, "x": 0.5, "y": 1.0}
    with pytest.raises(UsageError, match="'c' is not a number"):
        shares("--data", (f"{tmp_path / 'b'}=c",))


@pytest.mark.parametrize(
    ("preset", "batch_size"),
    [
        ("demo_base_inverter", 32),
        ("demo_refiner", 32),
        ("demo_control", 32),
        ("ffhq_style_transformer", 8),
        ("ffhq_two_stage", 8),
    ],
)
def test_presets_are_valid(preset, batch_size):
    assert load(InverterRun, preset).loop.batch_size == batch_size


def test_command_trains_both_models(photos, generator, judge, tmp_path):
    save_model(tmp_path / "generator.safetensors", generator)
    save_model(tmp_path / "judge.safetensors", judge)
    preset = tmp_path / "small.toml"
    preset.write_text(
        "[network]\nimage_size = 32\nchannels = [4, 8, 8, 16]\nheads = 2\nrank = 3\n"
        '[training]\noptimizer = "adam"\ndecay_from = 0.5\nvalidate_every = 1\n'
        "[loop]\nsteps = 2\nbatch_size = 2\nlog_every = 1\nsample_every = 2\ncheckpoint_every = 2\n"
    )
    common = ["--data", str(photos), "--validation", str(photos), "--preset", str(preset)]
    for name in ("generator", "judge"):
        common += [f"--{name}", str(tmp_path / f"{name}.safetensors")]
    base, refiner = tmp_path / "base.safetensors", tmp_path / "refiner.safetensors"
    first = ["--model", "style_transformer", "--run", str(tmp_path / "base"), "--out", str(base)]
    second = ["--model", "two_stage", "--run", str(tmp_path / "refiner"), "--out", str(refiner)]
    second += ["--base", str(base)]
    for arguments in (first, second):
        result = CliRunner().invoke(inverter_command, arguments + common)
        assert result.exit_code == 0, result.output
        assert result.output.strip() == arguments[5]
    lines = [
        json.loads(text) for text in (tmp_path / "refiner/metrics.jsonl").read_text().splitlines()
    ]
    assert {"l2", "perceptual", "validation_base", "validation_refined"} <= set(lines[-1])
    assert (tmp_path / "refiner/samples/0000002.png").exists()
    assert load_model(refiner).config.refined_layers == 7
    go_on = ["--model", "style_transformer", "--run", str(tmp_path / "control")]
    go_on += ["--out", str(tmp_path / "control.safetensors"), "--init", str(base)]
    result = CliRunner().invoke(inverter_command, [*go_on, *common, "--set", "training.lr=1e-9"])
    assert result.exit_code == 0, result.output
    a, b = load_model(base).z, load_model(tmp_path / "control.safetensors").z
    assert torch.allclose(a, b, atol=1e-3)


def test_command_asks_for_the_base(photos, tmp_path):
    arguments = ["--model", "two_stage", "--data", str(photos), "--generator", "g", "--out", "o"]
    result = CliRunner().invoke(inverter_command, [*arguments, "--run", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
