"""Behaviour of trunk, attention, base inverter and refiner at small size."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.generator import PackedTokens
from rs_train.inverters import Refiner, RefinerConfig, StyleTransformerConfig
from rs_train.inverters.attention import Attention, DecoderLayer, GroupedDecoderLayer
from rs_train.inverters.pooling import pool_to
from rs_train.inverters.refine import ResidualTokens
from rs_train.inverters.trunk import Bottleneck, PReLU, Trunk

IMAGES = torch.linspace(-1, 1, 3 * 3 * 32 * 32).reshape(3, 3, 32, 32).sin()


def test_attention_equals_pytorchs():
    torch.manual_seed(0)
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    linears = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([linear.weight for linear in linears]))
        theirs.out_proj.weight.copy_(ours.output.weight)
        for linear in (*linears, ours.output):
            nn.init.normal_(linear.bias)
        theirs.in_proj_bias.copy_(torch.cat([linear.bias for linear in linears]))
        theirs.out_proj.bias.copy_(ours.output.bias)
    tokens, memory = torch.randn(2, 5, 16), torch.randn(2, 9, 16)
    expected, _ = theirs(tokens, memory, memory)
    assert torch.allclose(ours(tokens, memory), expected, atol=1e-6)


def test_decoder_layer_equals_pytorchs():
    torch.manual_seed(0)
    ours = DecoderLayer(16, 4)
    theirs = nn.TransformerDecoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    pairs = (
        (theirs.self_attn, ours.self_attention),
        (theirs.multihead_attn, ours.cross_attention),
    )
    with torch.no_grad():
        for packed, attention in pairs:
            parts = (attention.query, attention.key, attention.value)
            packed.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            packed.out_proj.load_state_dict(attention.output.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
    tokens, features = torch.randn(2, 5, 16), torch.randn(2, 16, 3, 3)
    expected = theirs(tokens, features.flatten(2).transpose(1, 2))
    assert torch.allclose(ours(tokens, features), expected, atol=1e-5)


def test_without_groups_every_token_mixes_with_every_other():
    torch.manual_seed(0)
    grouped, free = GroupedDecoderLayer(16, 4), GroupedDecoderLayer(16, 4, grouped=False)
    free.load_state_dict(grouped.state_dict())
    tokens, features = torch.randn(1, 4, 3, 16), torch.randn(1, 16, 3, 3)
    other = tokens.clone()
    other[:, 3] += 1
    first = [layer(tokens, features)[:, 0] for layer in (grouped, free)]
    again = [layer(other, features)[:, 0] for layer in (grouped, free)]
    assert torch.equal(first[0], again[0])
    assert not torch.allclose(first[1], again[1], atol=1e-3)
    one_group = tokens.flatten(1, 2)[:, None]
    expected = grouped(one_group, features).unflatten(2, (4, 3))[:, 0]
    assert torch.allclose(free(tokens, features), expected, atol=1e-6)


def test_without_scales_the_heads_alone_make_the_residual():
    torch.manual_seed(0)
    shapes = ((8, 4), (4, 4))
    scaled = ResidualTokens(shapes, 2, 3, 16, 0.5)
    plain = ResidualTokens(shapes, 2, 3, 16, None)
    plain.load_state_dict({k: v for k, v in scaled.state_dict().items() if k not in ("A", "B")})
    tokens = torch.randn(2, 4, 3, 16)
    for half, whole in zip(scaled(tokens), plain(tokens), strict=True):
        assert torch.allclose(2 * half, whole)
    assert {"A", "B"} & set(dict(plain.named_parameters())) == set()


def test_one_set_of_tokens_serves_a_whole_batch():
    torch.manual_seed(0)
    layer = GroupedDecoderLayer(16, 4)
    tokens, features = torch.randn(1, 4, 3, 16), torch.randn(2, 16, 3, 3)
    expected = layer(tokens.expand(2, -1, -1, -1), features)
    assert torch.allclose(layer(tokens, features), expected, atol=1e-6)


def test_self_attention_stays_inside_groups():
    torch.manual_seed(0)
    layer = GroupedDecoderLayer(16, 4)
    tokens, features = torch.randn(1, 4, 3, 16), torch.randn(1, 16, 3, 3)
    changed = tokens.clone()
    changed[:, 2] = torch.randn(3, 16)
    before, after = layer(tokens, features), layer(changed, features)
    others = [0, 1, 3]
    assert torch.allclose(before[:, others], after[:, others], atol=1e-6)
    assert not torch.allclose(before[:, 2], after[:, 2], atol=1e-2)


def test_tokens_of_one_group_see_each_other():
    torch.manual_seed(0)
    layer = GroupedDecoderLayer(16, 4)
    tokens, features = torch.randn(1, 4, 3, 16), torch.randn(1, 16, 3, 3)
    changed = tokens.clone()
    changed[:, 2, 0] = torch.randn(16)
    difference = layer(tokens, features) - layer(changed, features)
    assert difference[:, 2, 1:].abs().max() > 1e-4


def test_prelu_is_the_same_function_in_training_and_use():
    torch.manual_seed(0)
    layer = PReLU(5)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([-0.5, 0.0, 0.25, 1.0, 1.5]))
    x = torch.randn(2, 5, 4, 4)
    expected = F.prelu(x, layer.weight)
    assert torch.allclose(layer.train()(x), expected, atol=1e-6)
    assert torch.allclose(layer.eval()(x), expected, atol=1e-6)


def test_strided_unit_of_one_width_keeps_every_second_pixel():
    torch.manual_seed(0)
    unit = Bottleneck(4, 4, 2).eval()
    nn.init.zeros_(unit.residual[3].weight)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(unit(x), F.max_pool2d(x, 1, 2))


def test_taps_are_units_6_20_23():
    trunk = Trunk(3, (4, 8, 8, 16)).eval()
    expected = []
    for index, unit in enumerate(trunk.body):
        if index in (6, 20, 23):
            unit.register_forward_hook(lambda _m, _i, out: expected.append(out))
    taps = trunk(IMAGES)
    assert len(trunk.body) == 24
    assert [tuple(tap.shape[1:]) for tap in taps] == [(8, 8, 8), (8, 4, 4), (16, 2, 2)]
    assert all(tap is out for tap, out in zip(taps, expected, strict=True))


def test_baked_query_equals_mapping_of_z(base, generator):
    query = base.map_query(generator.mapping)
    assert torch.equal(base(IMAGES), base(IMAGES, query))
    with torch.no_grad():
        base.z.add_(1)
    assert not torch.allclose(base(IMAGES), base(IMAGES, base.map_query(generator.mapping)))


def test_untrained_base_starts_in_w(base):
    mean, std = torch.full((16,), 5.0), torch.full((16,), 0.1)
    base.start_from(mean, std)
    w_plus = base(IMAGES)
    assert w_plus.mean().item() == pytest.approx(5, abs=0.05)
    assert w_plus.std().item() == pytest.approx(0.1, abs=0.02)


def test_each_image_is_inverted_alone(base, refiner, generator):
    with torch.no_grad():
        w_plus = base(IMAGES)
        first = generator.synthesis(w_plus)
        P, Q = refiner(IMAGES, first)
        assert not torch.allclose(w_plus[0], w_plus[1], atol=1e-4)
        assert torch.allclose(base(IMAGES[1:2]), w_plus[1:2], atol=1e-5)
        alone = refiner(IMAGES[1:2], first[1:2])
        assert torch.allclose(alone.P, P[1:2], atol=1e-5)
        assert torch.allclose(alone.Q, Q[1:2], atol=1e-5)


def test_layers_before_the_last_nr_are_not_refined(refiner, generator):
    P, Q = refiner(IMAGES, IMAGES)
    absent = generator.table.convs[:2]
    outs = sum(layer.out_channels for layer in absent)
    ins = sum(layer.in_channels for layer in absent)
    assert P.shape == (3, 3, generator.table.sum_out)
    assert Q.shape == (3, 3, generator.table.sum_in)
    assert not P[..., :outs].any() and not Q[..., :ins].any()
    assert (P[..., outs:] != 0).all() and (Q[..., ins:] != 0).all()


def test_scales_of_zero_give_the_plain_synthesis(base, refiner, generator):
    with torch.no_grad():
        w_plus = base(IMAGES)
        plain = generator.synthesis(w_plus)
        tokens = PackedTokens(*refiner(IMAGES, plain))
        assert not torch.allclose(generator.synthesis(w_plus, tokens), plain, atol=1e-4)
        refiner.residual.A.zero_()
        tokens = PackedTokens(*refiner(IMAGES, plain))
        assert torch.allclose(generator.synthesis(w_plus, tokens), plain, atol=1e-6)


def test_scales_multiply_tokens_one_by_one(refiner):
    with torch.no_grad():
        P, Q = refiner(IMAGES, IMAGES)
        refiner.residual.A[-1, 1] *= 3
        P_scaled, Q_scaled = refiner(IMAGES, IMAGES)
    ratio = (P_scaled / P)[..., -1]  # the last channel belongs to the last layer
    assert torch.allclose(ratio, torch.tensor([1.0, 3.0, 1.0]).expand(3, 3), atol=1e-4)
    assert torch.equal(Q_scaled, Q)


def test_first_inversion_is_clamped_and_pooled(refiner):
    large = F.interpolate(IMAGES, scale_factor=2, mode="nearest")
    small = refiner(IMAGES, IMAGES)
    assert torch.allclose(refiner(IMAGES, large).P, small.P, atol=1e-5)
    outside = torch.where(IMAGES > 0.9, IMAGES + 3, IMAGES)
    clamped = refiner(IMAGES, torch.where(IMAGES > 0.9, torch.ones(()), IMAGES))
    assert torch.allclose(refiner(IMAGES, outside).P, clamped.P, atol=1e-6)


def test_pooling_averages_cells_and_keeps_equal_sizes():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert pool_to(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert pool_to(image, 4) is image


@pytest.mark.parametrize("shape", [(1, 3, 48, 48), (1, 3, 16, 16), (1, 3, 64, 32)])
def test_pooling_refuses_other_sizes(shape):
    with pytest.raises(IncompatibleError, match=r"multiple of 32"):
        pool_to(torch.zeros(shape), 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"w_dim": 256}, "must equal w_dim"),
        ({"heads": 3}, "3 heads"),
        ({"image_size": 100}, "multiple of 16"),
    ],
)
def test_base_configuration_is_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        StyleTransformerConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"refined_layers": 18}, "1…17"),
        ({"refined_layers": 0}, "1…17"),
        ({"heads": 3}, "3 heads"),
        ({"image_size": 100}, "multiple of 16"),
    ],
)
def test_refiner_configuration_is_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        RefinerConfig(**wrong)


def test_gradients_reach_every_parameter_of_the_refiner(refiner: Refiner, generator, base):
    refiner.train()
    w_plus = base(IMAGES).detach()
    first = generator.synthesis(w_plus)
    image = generator.synthesis(w_plus, PackedTokens(*refiner(IMAGES, first.detach())))
    image.square().mean().backward()
    silent = [n for n, p in refiner.named_parameters() if p.grad is None or not p.grad.any()]
    # A key bias shifts all scores of a query alike, which softmax forgets.
    assert [name for name in silent if not name.endswith("key.bias")] == []


def test_a_refiner_starts_from_the_trunk_of_its_base(base, refiner):
    refiner.start_from(base)
    own, copied = refiner.pyramid.state_dict(), base.pyramid.state_dict()
    first = "trunk.input_layer.0.weight"
    assert torch.equal(own[first][:, :3], copied[first])
    assert all(torch.equal(own[name], copied[name]) for name in own if name != first)
    with torch.no_grad():
        tokens = refiner.residual.tokens
        for block, level in zip(
            refiner.blocks, base.pyramid(torch.randn(2, 3, 32, 32)), strict=True
        ):
            tokens = block(tokens, level)
    assert tokens.var(dim=(1, 2)).mean() > 0.05  # the tokens differ from one another
