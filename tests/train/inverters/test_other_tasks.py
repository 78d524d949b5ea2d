"""Training of pSp, e4e, ReStyle and the one-stage inverter, and what losses look through."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_train.checkpoint import load_model, save_model
from rs_train.cli.inverter import command as inverter_command
from rs_train.config import load
from rs_train.inverters.base import first_latent, load_base
from rs_train.inverters.build import Network, build
from rs_train.loop import LoopConfig
from rs_train.perceptual import ir_se50
from rs_train.tasks.e4e import Editing, LatentPool
from rs_train.tasks.image_losses import LossNetworks, image_losses
from rs_train.tasks.inverter import InverterTraining
from rs_train.tasks.inverters import RUNS, TASKS
from rs_train.tasks.two_stage import TwoStageTask

NETWORK = Network(
    image_size=32, channels=(4, 8, 8, 16), heads=2, rank=3, token_scale_init=0.1, iterations=2
)
TRAINING = InverterTraining(optimizer="adam", lr=0.003, precision="fp32")
LOOP = LoopConfig(steps=100, batch_size=4)
PHOTOS = torch.linspace(-1, 1, 4 * 3 * 32 * 32).reshape(4, 3, 32, 32).mul(5).sin()
BATCH = {"image": PHOTOS}


def task_of(model: str, generator, out: Path = Path("out"), training=TRAINING, **options):
    editing = {"editing": options.pop("editing")} if "editing" in options else {}
    network = options.pop("network", NETWORK)
    config = RUNS[model](network=network, training=training, loop=LOOP, **editing)
    return TASKS[model](config, copy.deepcopy(generator), out, **options)


@pytest.mark.parametrize("model", ["psp", "e4e", "restyle", "one_stage"])
def test_an_inverter_learns_a_few_photos(model, generator, tmp_path):
    training = replace(TRAINING, delta=1e-4, editability=0.01) if model == "e4e" else TRAINING
    out = tmp_path / "model.safetensors"
    editing = Editing(progressive_from=0, progressive_every=2)
    options = {"editing": editing} if model == "e4e" else {}
    task = task_of(model, generator, out, training, **options)
    frozen = [p.clone() for p in task.generator.parameters()]
    first = task.step(0, BATCH)["l2"]
    last = [task.step(step, BATCH)["l2"] for step in range(1, 16)][-1]
    assert last < 0.85 * first
    assert all(torch.equal(a, b) for a, b in zip(frozen, task.generator.parameters(), strict=True))
    task.finish(tmp_path, {})
    loaded = load_model(out, expect=model)
    task.model.eval()
    with torch.no_grad():
        shown = task.stages(PHOTOS)[-1]
        if model == "one_stage":
            assert torch.allclose(loaded(PHOTOS).P, task.model(PHOTOS).P, atol=1e-2)
            return
        w_plus = first_latent(load_base(out), PHOTOS, generator.synthesis)
        image = generator.synthesis(w_plus)
    assert torch.allclose(image, shown, atol=0.05)  # stored in fp16


@pytest.mark.parametrize("model", ["psp", "e4e", "restyle", "one_stage"])
def test_bf16_steps_are_finite(model, generator):
    training = replace(TRAINING, precision="bf16", delta=1e-4, editability=0.1, generated=2)
    figures = task_of(model, generator, training=training).step(0, BATCH)
    assert all(abs(value) < 1e3 for value in figures.values())


def test_samples_of_known_latent_are_regressed(generator):
    for model in ("psp", "one_stage"):
        training = replace(TRAINING, generated=2, latent=0.5)
        figures = task_of(model, generator, training=training).step(0, BATCH)
        assert figures["loss"] == pytest.approx(figures["l2"] + 0.5 * figures["latent"], rel=1e-5)


def test_one_stage_judges_the_refined_image(generator):
    task = task_of("one_stage", generator)
    task.model.eval()
    with torch.no_grad():
        losses = task.losses(PHOTOS)
        plain, refined = task.stages(PHOTOS)
    assert losses["l2"].item() == pytest.approx((refined - PHOTOS).square().mean().item(), rel=1e-4)
    assert not torch.allclose(plain, refined, atol=1e-4)


def test_restyle_adds_the_losses_of_its_steps(generator):
    task = task_of("restyle", generator)
    task.model.eval()
    with torch.no_grad():
        images = [generator.synthesis(w) for w in task.model.steps(PHOTOS, generator.synthesis)]
        expected = sum((image - PHOTOS).square().mean().item() for image in images)
        assert task.losses(PHOTOS)["l2"].item() == pytest.approx(expected, rel=1e-4)


def test_e4e_frees_its_rows_one_by_one(generator, tmp_path):
    editing = Editing(progressive_from=10, progressive_every=3)
    task = task_of("e4e", generator, tmp_path / "e4e.safetensors", editing=editing)
    assert [task.free_rows(step) for step in (0, 9, 10, 12, 13, 100)] == [1, 1, 2, 2, 3, 8]
    task.model.eval()
    for rows in (1, 3, 8):
        task.rows = rows
        with torch.no_grad():
            w_plus = task.invert(PHOTOS)
        same = [torch.equal(w_plus[:, row], w_plus[:, 0]) for row in range(8)]
        assert same == [row == 0 or row >= rows for row in range(8)]
    assert torch.allclose(task.model(PHOTOS), w_plus)


def test_e4e_writes_no_rows_that_never_became_free(generator, tmp_path):
    editing = Editing(progressive_from=98, progressive_every=10)
    task = task_of("e4e", generator, tmp_path / "e4e.safetensors", editing=editing)
    task.finish(tmp_path, {})
    w_plus = load_model(tmp_path / "e4e.safetensors")(PHOTOS)
    assert not torch.equal(w_plus[:, 1], w_plus[:, 0])
    assert all(torch.equal(w_plus[:, row], w_plus[:, 0]) for row in range(2, 8))


def test_e4e_keeps_rows_near_the_first_and_likely(generator):
    training = replace(TRAINING, delta=0.5, editability=0.1)
    task = task_of("e4e", generator, training=training, editing=Editing(progressive_from=0))
    before = [p.clone() for p in task.discriminator.parameters()]
    figures = task.step(0, BATCH)
    total = figures["l2"] + 0.5 * figures["delta"] + 0.1 * figures["editability"]
    assert figures["loss"] == pytest.approx(total, rel=1e-5)
    assert {"discriminator", "r1"} <= set(figures)
    after = list(task.discriminator.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert "r1" not in task.step(1, BATCH)
    w_plus = torch.zeros(2, 8, 16)
    w_plus[:, 1, 0] = torch.tensor([3.0, 5.0])
    task.rows = 2
    assert task.latent_losses(w_plus)["delta"].item() == pytest.approx(4)


def test_the_pool_returns_latents_of_earlier_steps():
    torch.manual_seed(0)
    pool = LatentPool(4, 1)
    assert torch.equal(pool.exchange(torch.zeros(4, 1)), torch.zeros(4, 1))
    returned = pool.exchange(torch.ones(40, 1))
    assert 0 < (returned == 0).sum() <= 4
    assert pool.count == 4 and "kept" in pool.state_dict()


def test_two_stage_stands_on_any_base(generator):
    for model in ("psp", "restyle"):
        torch.manual_seed(1)
        base = build(model, NETWORK, generator.config).eval()
        task = task_of("two_stage", generator, base=base)
        assert isinstance(task, TwoStageTask)
        with torch.no_grad():
            first = task.stages(PHOTOS)[0]
            w_plus = first_latent(base, PHOTOS, generator.synthesis)
        assert torch.allclose(first, generator.synthesis(w_plus), atol=1e-5)
        assert task.step(0, BATCH)["l2"] > 0
        if model == "psp":
            fresh = task_of("two_stage", generator, base=base).model.pyramid.trunk.body
            own = dict(base.pyramid.trunk.body.named_parameters())
            assert all(torch.equal(p, own[name]) for name, p in fresh.named_parameters())


class _Face(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.direction = torch.tensor([value, 1.0])

    def embed(self, image: Tensor) -> Tensor:
        return self.direction.expand(len(image), -1) + image.mean((1, 2, 3))[:, None]

    def features(self, image: Tensor) -> list[Tensor]:
        return [image]


def test_public_networks_take_the_place_of_our_own():
    weights = InverterTraining(moco=0.5)
    a, b = PHOTOS, PHOTOS.flip(0)
    own = image_losses(LossNetworks(judge=_Face(3.0)), weights, a, b)
    assert set(own) == {"l2", "perceptual", "identity"}
    public = LossNetworks(
        judge=_Face(3.0), lpips=lambda x, y: torch.full((len(x),), 0.25), identity=_Face(9.0),
        moco=_Face(0.0),
    )  # fmt: skip
    found = image_losses(public, weights, a, b)
    assert set(found) == {"l2", "perceptual", "identity", "moco"}
    assert found["perceptual"] == 0.25 and found["identity"] != own["identity"]
    assert set(image_losses(public, replace(weights, perceptual=0, identity=0, moco=0), a, b)) == {
        "l2"
    }


def test_losses_look_at_the_rows_that_are_read(generator):
    task = task_of("psp", generator, network=replace(NETWORK, image_height=16))
    photo = PHOTOS.clone()
    photo[:, :, :8] = photo[:, :, 24:] = 9
    task.model.eval()
    with torch.no_grad():
        assert torch.equal(task.losses(photo)["l2"], task.losses(PHOTOS)["l2"])


def test_trunks_start_from_a_face_network_or_a_base_inverter(generator, monkeypatch, tmp_path):
    monkeypatch.setattr(ir_se50, "CHANNELS", NETWORK.channels)
    torch.manual_seed(7)
    face = ir_se50.IRSE50()
    own = face.trunk.state_dict()
    public = {k.replace("residual.5.reduce", "res_layer.5.fc1")
              .replace("residual.5.expand", "res_layer.5.fc2")
              .replace("residual.", "res_layer.").replace("projection.", "shortcut_layer."): v
              for k, v in own.items()}  # fmt: skip
    torch.save(public, tmp_path / "face.pth")
    inverter = build("psp", NETWORK, generator.config)
    inverter.pyramid.trunk.load_state_dict(own)
    save_model(tmp_path / "psp.safetensors", inverter, {})
    read = ir_se50.read_trunk(tmp_path / "face.pth")
    of_inverter = ir_se50.read_trunk(tmp_path / "psp.safetensors")
    assert all(torch.equal(of_inverter[name], value) for name, value in read.items())
    for model in ("psp", "one_stage", "two_stage", "restyle"):
        base = {"base": build("psp", NETWORK, generator.config)} if model == "two_stage" else {}
        task = task_of(model, generator, trunk=read, **base)
        trunk = next(m for m in task.model.modules() if isinstance(m, type(face.trunk)))
        first = trunk.input_layer[0].weight
        image_half = torch.equal(first[:, :3], own["input_layer.0.weight"])
        assert image_half is (model != "two_stage")
        copied = trunk.body.state_dict()
        assert all(torch.equal(copied[k], v) for k, v in face.trunk.body.state_dict().items())
    with pytest.raises(IncompatibleError, match="trunk to start from does not fit"):
        task_of("psp", generator, trunk=read, network=replace(NETWORK, channels=(8, 8, 8, 16)))


@pytest.mark.parametrize("model", list(RUNS))
def test_shipped_presets_fit_their_models(model):
    presets = {"two_stage": "refiner", "style_transformer": "base_inverter"}
    assert load(RUNS[model], f"demo_{presets.get(model, model)}").training.optimizer == "adam"
    published = load(RUNS[model], f"ffhq_{model}")
    batch, perceptual = (1, 0.2) if model == "feature_style" else (8, 0.8)
    assert (published.training.optimizer, published.loop.batch_size) == ("ranger", batch)
    weights = published.training
    assert (weights.l2, weights.perceptual, weights.identity) == (1, perceptual, 0.1)
    assert weights.train_mapping is (model in ("style_transformer", "one_stage"))


def test_the_published_recipes():
    recipes = {
        "one_stage": (1_000_000, 1e-4),
        "two_stage": (700_000, 1e-3),
        "style_transformer": (600_000, 1e-4),
        "psp": (500_000, 1e-4),
    }
    for model, (steps, rate) in recipes.items():
        run = load(RUNS[model], f"ffhq_{model}")
        assert (run.loop.steps, run.training.lr, run.training.decay_from) == (steps, rate, 1)
    one, two = (load(RUNS[f"{n}_stage"], f"ffhq_{n}_stage").network for n in ("one", "two"))
    assert (one.refined_layers, one.rank) == (10, 32)
    assert (two.refined_layers, two.rank) == (17, 32)
    for model in ("style_transformer", "one_stage", "two_stage"):
        run = load(RUNS[model], f"cars_{model}")
        assert (run.network.image_height, run.network.image_size) == (192, 256)
        assert (run.training.moco, run.training.identity) == (0.5, 0)


def test_command_trains_one_stage(generator, tmp_path):
    save_model(tmp_path / "generator.safetensors", generator)
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.new("RGB", (32, 32), (80 * index, 40, 90)).save(tmp_path / f"photos/{index}.png")
    out = tmp_path / "inverter.safetensors"
    arguments = [
        *("--model", "one_stage", "--data", tmp_path / "photos", "--out", out),
        *("--generator", tmp_path / "generator.safetensors", "--run", tmp_path / "run"),
        *("--set", "network.image_size=32", "--set", "network.channels=[4, 8, 8, 16]"),
        *("--set", "network.heads=2", "--set", "loop.steps=1", "--set", "loop.batch_size=2"),
        *("--set", "training.validate_every=0", "--set", "training.generated=0"),
    ]
    result = CliRunner().invoke(inverter_command, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    model = load_model(out, expect="one_stage")
    assert model.config.refined_layers == 7 and model.base.query.any()


@pytest.mark.parametrize("text", ["lpips", "vgg=file"])
def test_unknown_weights_are_refused(text, tmp_path):
    arguments = ["--model", "psp", "--data", str(tmp_path), "--generator", "g", "--out", "o"]
    picture = Image.new("RGB", (128, 128))
    picture.save(tmp_path / "a.png")
    arguments += ["--run", str(tmp_path / "run"), "--weights", text]
    result = CliRunner().invoke(inverter_command, arguments)
    assert isinstance(result.exception, UsageError)
    assert "lpips, identity, moco, trunk" in result.exception.expected
