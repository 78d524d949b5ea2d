"""Feature-Style-Encoder and FeatureShift: their networks, their three uses, their trainings."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_runtime.contracts.tokens import TokenSet, write_token_set
from rs_train.checkpoint import load_model, save_model
from rs_train.cli.inverter import command
from rs_train.generator import Generator, PackedTokens
from rs_train.generator.tokens import at_strength, pack, pack_each
from rs_train.inverters import FeatureShift, FeatureStyleConfig, FeatureStyleEncoder
from rs_train.inverters.build import Network, build
from rs_train.inverters.feature_style import (
    FeatureStyle,
    draw,
    feature_replaced,
    generator_shift,
    styles_only,
)
from rs_train.inverters.iresnet import IResNet
from rs_train.loop import LoopConfig
from rs_train.perceptual.iresnet50 import read_iresnet50
from rs_train.tasks.feature_shift import FeatureShiftTask
from rs_train.tasks.feature_style import FeatureStyleTask
from rs_train.tasks.inverter import InverterRun, InverterTraining

# Convolution 1 of the generator of 32 x 32 reads 4 x 4, an eighth of the picture.
SPLIT = 1
NETWORK = Network(image_size=32, channels=(4, 8, 8, 16), layer=SPLIT, gated=True, hidden=12)
TRAINING = InverterTraining(optimizer="adam", lr=0.003, precision="fp32", generated=2)
LOOP = LoopConfig(steps=100, batch_size=4)
PHOTOS = torch.linspace(-1, 1, 4 * 3 * 32 * 32).reshape(4, 3, 32, 32).mul(5).sin()
BATCH = {"image": PHOTOS}


@pytest.fixture
def encoder(generator: Generator) -> FeatureStyleEncoder:
    torch.manual_seed(3)
    return build("feature_style", NETWORK, generator.config).eval()


@pytest.fixture
def found(generator: Generator) -> FeatureStyle:
    rng = torch.Generator().manual_seed(4)
    w_plus = torch.randn(2, generator.num_ws, 16, generator=rng)
    return FeatureStyle(w_plus, torch.randn(2, 16, 4, 4, generator=rng))


def token_set(generator: Generator, name: str, rank: int) -> TokenSet:
    rng = np.random.default_rng(len(name))
    table = generator.table

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32) * 0.3

    return TokenSet(
        kind="domain",
        name=name,
        P={conv.name: normal(rank, conv.out_channels) for conv in table.convs},
        Q={conv.name: normal(rank, conv.in_channels) for conv in table.convs},
        style_offset={conv.name: normal(conv.in_channels) for conv in table.convs},
        modulation={conv.name: 1 + normal(conv.in_channels) for conv in table.convs},
        w_plus=None,
        source="a test",
        licence="CC0-1.0",
        fingerprint=generator.fingerprint(),
        table_hash=table.hash,
    )


@pytest.fixture
def sets(generator: Generator) -> list[TokenSet]:
    return [token_set(generator, "one", 2), token_set(generator, "second", 3)]


@pytest.fixture
def domains(generator: Generator, sets: list[TokenSet]) -> PackedTokens:
    return pack_each(sets, generator.table)


def test_the_published_encoder_reads_8640_numbers_a_row():
    with torch.device("meta"):
        model = FeatureStyleEncoder(FeatureStyleConfig()).eval()
        image = torch.zeros(1, 3, 256, 256)
        w_plus, feature = model(image)
        maps = model.trunk.stages(image)
    assert len(model.heads) == 18
    assert {(head.in_features, head.out_features) for head in model.heads} == {(8640, 512)}
    assert (w_plus.shape, feature.shape) == ((1, 18, 512), (1, 512, 16, 16))
    assert model.content.conv2.stride == (2, 2)
    sizes = [(64, 128), (128, 64), (256, 32), (512, 16)]
    assert [tuple(x.shape[1:3]) for x in maps] == sizes


def test_rows_of_low_rank_and_another_trunk_give_the_same_shapes(generator):
    for network in (
        replace(NETWORK, style_rank=5, pooled_side=2),
        replace(NETWORK, gated=False),
        replace(NETWORK, layer=2, image_size=64),
    ):
        model = build("feature_style", network, generator.config).eval()
        side = 4 if network.layer == 1 else 8
        w_plus, feature = model(torch.zeros(2, 3, network.image_size, network.image_size))
        assert (w_plus.shape, feature.shape) == ((2, 8, 16), (2, 16, side, side))


@pytest.mark.parametrize("change", [{"layer": 3}, {"layer": 0}, {"layer": 7}])
def test_sizes_that_do_not_fit_are_refused(change, generator):
    with pytest.raises(UsageError, match="do not fit together"):
        build("feature_style", replace(NETWORK, **change), generator.config)


@torch.no_grad()
def test_without_a_domain_styles_give_the_generators_own_picture(generator, encoder, found):
    image = draw(generator.synthesis, encoder, found, move=styles_only)
    assert torch.equal(image, generator.synthesis(found.w_plus))
    replaced = draw(generator.synthesis, encoder, found, move=feature_replaced)
    shifted = draw(generator.synthesis, encoder, found, move=generator_shift)
    assert torch.allclose(replaced, shifted, atol=1e-5)
    assert not torch.allclose(replaced, image, atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("residual", [False, True])
def test_a_generators_own_feature_moves_to_the_domains_own_picture(residual, generator, domains):
    network = replace(NETWORK, residual=residual)
    encoder = build("feature_style", network, generator.config)
    shift = build("feature_shift", network, generator.config).eval()
    w_plus = torch.randn(2, generator.num_ws, 16, generator=torch.Generator().manual_seed(5))
    own, _ = generator.synthesis.lower(w_plus, split=SPLIT)
    found = FeatureStyle(w_plus, torch.zeros_like(own) if residual else own)
    wanted = generator.synthesis(w_plus, domains)
    for move in (styles_only, generator_shift, shift.edit):
        image = draw(generator.synthesis, encoder, found, domains, move=move)
        assert torch.allclose(image, wanted, atol=1e-4)
    moved, image = generator.synthesis.lower(w_plus, domains, split=SPLIT)
    by_roles = shift(found.feature, own, moved)  # as a bundle calls it
    image = generator.synthesis.upper(by_roles, image, w_plus, domains, split=SPLIT)
    assert torch.allclose(image, wanted, atol=1e-4)
    replaced = draw(generator.synthesis, encoder, found, domains, move=feature_replaced)
    assert not torch.allclose(replaced, wanted, atol=1e-2)


def test_each_set_packs_as_it_does_alone(generator, sets, domains):
    assert domains.P.shape[:2] == (2, 3)
    w_plus = torch.randn(1, generator.num_ws, 16)
    for index, one in enumerate(sets):
        row = PackedTokens(*(part[index : index + 1] for part in domains))
        alone = pack([one], generator.table)
        with torch.no_grad():
            images = [generator.synthesis(w_plus, tokens) for tokens in (row, alone)]
        assert torch.allclose(*images, atol=1e-5)


def test_strength_weakens_every_part_of_a_change(generator, sets, domains):
    strength = torch.tensor([0.25, 0.0])
    weak = at_strength(domains, strength)
    alone = pack(sets[:1], generator.table, [0.25])
    w_plus = torch.randn(2, generator.num_ws, 16)
    with torch.no_grad():
        image = generator.synthesis(w_plus, weak)
        assert torch.allclose(image[:1], generator.synthesis(w_plus[:1], alone), atol=1e-5)
        assert torch.allclose(image[1:], generator.synthesis(w_plus[1:]), atol=1e-5)


def style_task(generator, out=Path("out"), training=TRAINING, **options) -> FeatureStyleTask:
    config = InverterRun(
        network=NETWORK, training=training, loop=LoopConfig(steps=100, batch_size=4)
    )
    return FeatureStyleTask(config, copy.deepcopy(generator), out, **options)


def test_an_encoder_learns_a_few_photos(generator, tmp_path):
    training = replace(TRAINING, feature=0.01, latent=0.1, styles=0.5, ramp=4)
    task = style_task(generator, tmp_path / "encoder.safetensors", training)
    first = task.step(0, BATCH)
    last = [task.step(step, BATCH) for step in range(1, 16)][-1]
    assert {"l2", "latent", "styles", "feature"} <= set(last)
    assert last["l2"] < 0.7 * first["l2"] and last["styles"] < first["styles"]
    task.finish(tmp_path, {})
    loaded = load_model(tmp_path / "encoder.safetensors", expect="feature_style")
    task.model.eval()
    with torch.no_grad():
        plain, replaced = task.stages(PHOTOS)
        image = draw(generator.synthesis, loaded, loaded(PHOTOS), move=feature_replaced)
    assert torch.allclose(image, replaced, atol=0.05)  # stored in fp16
    assert not torch.allclose(plain, replaced, atol=0.05)


def test_the_feature_takes_over_within_the_ramp(generator):
    task = style_task(generator, training=replace(TRAINING, ramp=10))
    shares = []
    for step in (0, 5, 10, 20):
        task.step(step, BATCH)
        shares.append(task.share.item())
    assert shares == [0, 0.5, 1, 1]


def test_a_residual_begins_with_the_styles_own_picture_and_learns(generator):
    network = replace(NETWORK, residual=True)
    config = InverterRun(network=network, training=replace(TRAINING, feature=0.01), loop=LOOP)
    task = FeatureStyleTask(config, copy.deepcopy(generator), Path("out"))
    task.model.eval()
    with torch.no_grad():
        assert torch.equal(*task.stages(PHOTOS))
    figures = [task.step(step, BATCH) for step in range(8)]
    assert figures[-1]["l2"] < figures[1]["l2"] and figures[0]["feature"] == 0
    assert figures[-1]["feature"] > 0


def test_first_guesses_lie_where_the_generators_features_lie(generator):
    task = style_task(generator)
    z = torch.randn(256, 16, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        w_plus = generator.broadcast(generator.mapping(z))
        own, _ = generator.synthesis.lower(w_plus, split=SPLIT)
        feature = task.model.train()(PHOTOS).feature
    assert torch.allclose(feature.mean((0, 2, 3)), own.mean((0, 2, 3)), atol=0.2)
    assert torch.allclose(feature.std((0, 2, 3)), own.std((0, 2, 3)), rtol=0.4)


def test_only_samples_count_in_the_squared_error_as_published(generator):
    task = style_task(generator, training=replace(TRAINING, l2_on_photos=False))
    task.share.fill_(1)
    task.model.eval()
    with torch.no_grad():
        torch.manual_seed(8)
        losses = task.losses(PHOTOS)
        torch.manual_seed(8)
        sample, _ = task._generate(2)
        _, image = task.stages(sample)
    assert losses["l2"].item() == pytest.approx((image - sample).square().mean().item(), rel=1e-4)


def test_the_public_trunk_is_taken_over(generator, tmp_path):
    torch.manual_seed(7)
    trunk = IResNet(NETWORK.channels)
    public = trunk.state_dict() | {"fc.weight": torch.zeros(2, 2), "features.bias": torch.zeros(2)}
    torch.save(public, tmp_path / "backbone.pth")
    read = read_iresnet50(tmp_path / "backbone.pth")
    assert read.keys() == trunk.state_dict().keys()
    config = InverterRun(
        network=replace(NETWORK, gated=False),
        training=TRAINING,
        loop=LOOP,
    )
    task = FeatureStyleTask(config, generator, tmp_path / "out.safetensors", trunk=read)
    own = task.model.trunk.state_dict()
    assert all(torch.equal(own[name], value) for name, value in trunk.state_dict().items())


def shift_task(generator, encoder, domains, out=Path("out"), **options) -> FeatureShiftTask:
    training = replace(TRAINING, lr=0.02, domain=1.0, strength=0.5)
    config = InverterRun(
        network=NETWORK, training=training, loop=LoopConfig(steps=100, batch_size=4)
    )
    frozen = copy.deepcopy(generator)
    return FeatureShiftTask(config, frozen, out, base=encoder, domains=domains, **options)


def test_shift_learns_all_domains_at_once(generator, encoder, domains, tmp_path):
    task = shift_task(generator, encoder, domains, tmp_path / "shift.safetensors")
    before = [p.clone() for p in task.base.parameters()]
    figures = [task.step(step, BATCH) for step in range(24)]
    for name in ("loss", "domain"):
        early, late = ([f[name] for f in part] for part in (figures[:6], figures[-6:]))
        assert np.mean(late) < 0.8 * np.mean(early)
    assert all(torch.equal(a, b) for a, b in zip(before, task.base.parameters(), strict=True))
    task.finish(tmp_path, {})
    loaded = load_model(tmp_path / "shift.safetensors", expect="feature_shift")
    task.model.eval()
    feature = torch.randn(3, 2, 16, 4, 4)
    with torch.no_grad():
        assert torch.allclose(loaded(*feature), task.model(*feature), atol=2e-2)


def test_an_encoder_of_another_kind_is_refused(generator, domains):
    other = build("feature_style", replace(NETWORK, layer=2, image_size=64), generator.config)
    added = build("feature_style", replace(NETWORK, residual=True), generator.config)
    for encoder in (other, added):
        with pytest.raises(IncompatibleError, match="does not find what this FeatureShift moves"):
            shift_task(generator, encoder, domains)


def test_the_command_trains_both(generator, sets, tmp_path):
    save_model(tmp_path / "generator.safetensors", generator)
    (tmp_path / "photos").mkdir()
    (tmp_path / "domains").mkdir()
    for index, photo in enumerate(PHOTOS):
        pixels = ((photo.permute(1, 2, 0) + 1) * 127.5).byte().numpy()
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    for one in sets:
        write_token_set(tmp_path / "domains" / f"{one.name}.tokens", one)
    common = ["--data", tmp_path / "photos", "--validation", tmp_path / "photos"]
    common += ["--generator", tmp_path / "generator.safetensors"]
    settings = [
        *("network.image_size=32", "network.channels=[4,8,8,16]", f"network.layer={SPLIT}"),
        *("loop.steps=2", "loop.batch_size=4", "loop.sample_every=2", "training.generated=2"),
        *("network.hidden=12", "training.validate_every=2"),
    ]
    common += [part for setting in settings for part in ("--set", setting)]

    def run(model: str, *options: object):
        out = ["--out", tmp_path / f"{model}.safetensors", "--run", tmp_path / model]
        argv = ["--model", model, *common, *out, *options]
        return CliRunner().invoke(command, [str(part) for part in argv])

    assert run("feature_style").exit_code == 0
    base = ("--base", tmp_path / "feature_style.safetensors")
    result = run("feature_shift", *base, "--domain", tmp_path / "domains")
    assert result.exit_code == 0, result.output
    assert isinstance(load_model(tmp_path / "feature_shift.safetensors"), FeatureShift)
    assert isinstance(run("feature_shift", *base).exception, UsageError)
    empty = ("--domain", tmp_path / "photos")
    assert "holds no domains" in str(run("feature_shift", *base, *empty).exception)
