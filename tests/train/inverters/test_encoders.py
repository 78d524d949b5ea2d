"""pSp, e4e, ReStyle and the one-stage inverter at small size."""

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.checkpoint import load_model, save_model
from rs_train.domains.codes import invert
from rs_train.generator import Generator, PackedTokens
from rs_train.inverters import (
    E4E,
    PSP,
    OneStage,
    OneStageConfig,
    ReStyle,
    ReStyleConfig,
    StyleHeadsConfig,
)
from rs_train.inverters.base import load_base
from rs_train.inverters.pooling import middle_rows
from rs_train.inverters.style_head import StyleHead, add_to_first, level_of

IMAGES = torch.linspace(-1, 1, 3 * 3 * 32 * 32).reshape(3, 3, 32, 32).sin()
SIZES = {"image_size": 32, "num_ws": 8, "w_dim": 16, "channels": (4, 8, 8, 16)}


@pytest.fixture
def one_stage(generator: Generator) -> OneStage:
    torch.manual_seed(4)
    convs = tuple((layer.in_channels, layer.out_channels) for layer in generator.table.convs)
    config = OneStageConfig(
        image_size=32, num_ws=8, z_dim=16, w_dim=16, channels=SIZES["channels"], heads=2,
        conv_channels=convs, refined_layers=3, rank=2, token_scale_init=0.3,
    )  # fmt: skip
    model = OneStage(config)
    model.bake(generator.mapping)
    return model.eval()


def test_rows_read_the_published_maps():
    assert [level_of(row) for row in range(18)] == [0] * 3 + [1] * 4 + [2] * 11
    model = PSP(StyleHeadsConfig())
    assert [len(head.convs) // 2 for head in model.heads] == [4] * 3 + [5] * 4 + [6] * 11


@pytest.mark.parametrize("cls", [PSP, E4E])
def test_a_head_changes_the_rows_that_it_is_for(cls):
    torch.manual_seed(0)
    model = cls(StyleHeadsConfig(**SIZES)).eval()
    changed = {}
    with torch.no_grad():
        before = model(IMAGES)
        for row in (0, 5):
            model.heads[row].linear.bias += 1
            after = model(IMAGES)
            changed[row] = (after - before).abs().amax(dim=(0, 2)).gt(0.5).nonzero().flatten()
            before = after
    assert changed[0].tolist() == ([0] if cls is PSP else list(range(8)))
    assert changed[5].tolist() == [5]


def test_differences_are_added_to_the_first_row():
    rows = torch.tensor([[[1.0], [10.0], [-2.0]]])
    assert add_to_first(rows).flatten().tolist() == [1, 11, -1]


def test_head_is_a_mean_when_its_weights_make_it_one():
    head = StyleHead(2, 1, 1)
    with torch.no_grad():
        head.convs[0].weight.fill_(0.25)
        head.convs[0].bias.zero_()
        head.linear.weight.fill_(3)
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert head(x).item() == pytest.approx(9)
    with torch.no_grad():
        head.convs[0].weight.neg_()
    assert head(x).item() == pytest.approx(-0.09)  # slope 0.01


@pytest.mark.parametrize("progressive", [False, True])
def test_restyle_corrects_the_latent_before(generator, progressive):
    torch.manual_seed(0)
    config = ReStyleConfig(**SIZES, iterations=3, progressive=progressive)
    model = ReStyle(config).eval()
    model.latent_avg.copy_(torch.randn(8, 16))
    seen = []

    def synthesis(w_plus):
        seen.append(w_plus)
        return generator.synthesis(w_plus)

    steps = model.steps(IMAGES, synthesis)
    assert [len(w) for w in seen] == [1, 3, 3]
    assert torch.equal(seen[0], model.latent_avg[None])
    assert torch.equal(seen[2], steps[1].detach())
    image = generator.synthesis(steps[1])
    assert torch.allclose(model(IMAGES, image, steps[1]), steps[2], atol=1e-5)
    gradients = torch.autograd.grad(steps[2].sum(), steps[1], allow_unused=True)
    assert gradients == (None,)


def test_one_stage_is_a_style_transformer_with_tokens(one_stage, generator):
    with torch.no_grad():
        codes = one_stage(IMAGES)
        assert torch.equal(codes.w_plus, one_stage.base(IMAGES))
        alone = one_stage(IMAGES[1:2])
    absent = generator.table.convs[:4]
    outs, ins = (
        sum(getattr(layer, f"{side}_channels") for layer in absent) for side in ("out", "in")
    )
    assert codes.P.shape == (3, 2, generator.table.sum_out)
    assert not codes.P[..., :outs].any() and not codes.Q[..., :ins].any()
    assert (codes.P[..., outs:] != 0).all() and (codes.Q[..., ins:] != 0).all()
    for one, all_ in zip(alone, codes, strict=True):
        assert torch.allclose(one, all_[1:2], atol=1e-5)


def test_gradients_reach_every_parameter_of_one_stage(one_stage, generator):
    one_stage.train()
    codes = one_stage(IMAGES, one_stage.map_query(generator.mapping))
    image = generator.synthesis(codes.w_plus, PackedTokens(P=codes.P, Q=codes.Q))
    image.square().mean().backward()
    silent = [n for n, p in one_stage.named_parameters() if p.grad is None or not p.grad.any()]
    # A key bias shifts all scores of a query alike, which softmax forgets.
    assert [name for name in silent if not name.endswith("key.bias")] == []


def test_middle_rows():
    image = torch.arange(8.0).reshape(1, 1, 8, 1)
    assert middle_rows(image, 4).flatten().tolist() == [2, 3, 4, 5]
    assert middle_rows(image, None) is image
    assert middle_rows(image, 8) is image


def test_rows_outside_the_middle_are_not_read():
    torch.manual_seed(0)
    model = PSP(StyleHeadsConfig(**SIZES | {"image_height": 16})).eval()
    blanked = IMAGES.clone()
    blanked[:, :, :8] = blanked[:, :, 24:] = 0
    assert torch.equal(model(IMAGES), model(blanked))
    blanked[:, :, 8] = 0
    assert not torch.equal(model(IMAGES), model(blanked))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": 96}, "power of two"),
        ({"image_height": 40}, "image_height 40 is not a multiple of 16"),
        ({"image_height": 512}, "up to 256"),
    ],
)
def test_configuration_is_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        StyleHeadsConfig(**wrong)


def test_checkpoints_bring_them_back(one_stage, tmp_path):
    restyle = ReStyle(ReStyleConfig(**SIZES, progressive=True))
    for model in (one_stage, PSP(StyleHeadsConfig(**SIZES)), restyle):
        path = tmp_path / f"{model.kind}.safetensors"
        save_model(path, model)
        loaded = load_model(path, expect=model.kind)
        assert loaded.config == model.config
        found, expected = loaded.state_dict(), model.state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_portraits_are_inverted_by_any_of_them(one_stage, generator):
    codes = invert(IMAGES, generator, one_stage, None)
    with torch.no_grad():
        assert torch.allclose(codes.P, one_stage(IMAGES).P, atol=1e-5)
        restyle = ReStyle(ReStyleConfig(**SIZES, iterations=2)).eval()
        w_plus = restyle.steps(IMAGES, generator.synthesis)[-1]
    codes = invert(IMAGES, generator, restyle, None)
    assert torch.allclose(codes.w_plus, w_plus, atol=1e-5)
    assert codes.P.shape[1] == 0


def test_base_inverters_are_read_by_what_they_do(one_stage, tmp_path):
    for model in (E4E(StyleHeadsConfig(**SIZES)), one_stage):
        save_model(tmp_path / model.kind, model)
    assert load_base(tmp_path / "e4e").kind == "e4e"
    with pytest.raises(IncompatibleError, match="not a base inverter"):
        load_base(tmp_path / "one_stage")
