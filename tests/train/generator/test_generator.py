"""Generator: sizes, noise, truncation, tokens, growing."""

import pytest
import torch

from rs_runtime.contracts.errors import UsageError
from rs_train.generator import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    PackedTokens,
)

FFHQ_CHANNELS = (512, 512, 512, 512, 512, 256, 128, 64, 32)


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    config = GeneratorConfig(channels=(16, 16, 12, 8), z_dim=16, w_dim=24, mapping_layers=2)
    generator = Generator(config).eval().requires_grad_(False)
    for layer in generator.table.convs:
        generator.synthesis.layers[layer.name.replace(".", "_")].noise_strength.fill_(0.3)
    generator.update_latent_avg(200)
    return generator


def test_published_size_has_the_published_count():
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(channels=FFHQ_CHANNELS))
    assert sum(p.numel() for p in generator.parameters()) == 30_370_060
    assert generator.num_ws == 18


def test_noise_modes(generator):
    w_plus = generator.broadcast(generator.mapping(torch.randn(2, 16)))
    const = generator.synthesis(w_plus)
    assert const.shape == (2, 3, 32, 32)
    assert torch.equal(const, generator.synthesis(w_plus, noise_mode="const"))
    none = generator.synthesis(w_plus, noise_mode="none")
    first, second = (generator.synthesis(w_plus, noise_mode="random") for _ in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(const, none)


def test_truncation_pulls_towards_the_mean(generator):
    z = torch.randn(3, 16)
    mean = generator.latent_avg
    torch.testing.assert_close(generator.mapping(z, 0.0), mean.expand(3, -1))
    half = mean + 0.5 * (generator.mapping(z) - mean)
    torch.testing.assert_close(generator.mapping(z, 0.5), half)


@pytest.mark.parametrize("form", ["materialised", "factorised", "dense"])
def test_tokens_act_per_sample(generator, form):
    generator.synthesis.form = form
    table = generator.table
    w_plus = generator.broadcast(generator.mapping(torch.randn(2, 16)))
    tokens = PackedTokens(
        P=torch.randn(2, 2, table.sum_out) * 0.1, Q=torch.randn(2, 2, table.sum_in) * 0.1
    )
    tokens.P[0] = 0
    plain, refined = generator.synthesis(w_plus), generator.synthesis(w_plus, tokens)
    torch.testing.assert_close(refined[0], plain[0], atol=2e-5, rtol=1e-4)
    assert (refined[1] - plain[1]).abs().mean() > 0.01


def test_style_offsets_reach_the_torgbs(generator):
    table = generator.table
    torgb_channels = sum(layer.in_channels for layer in table.torgbs)
    w_plus = generator.broadcast(generator.mapping(torch.randn(1, 16)))
    offset = torch.zeros(1, table.sum_in + torgb_channels)
    offset[:, table.sum_in :] = 0.5
    changed = generator.synthesis(w_plus, PackedTokens(style_offset=offset))
    assert not torch.allclose(changed, generator.synthesis(w_plus))


def test_the_fingerprint_names_the_synthesis(generator):
    before = generator.fingerprint()
    assert before == generator.fingerprint()
    generator.synthesis.const[0, 0, 0] += 1e-3
    assert generator.fingerprint() != before


def test_growing_starts_as_the_smaller_networks(generator):
    discriminator = Discriminator(DiscriminatorConfig(channels=(8, 8, 8, 8)))
    discriminator.silence_blocks_above(16)
    image = torch.randn(4, 3, 32, 32)
    x = torch.nn.functional.avg_pool2d(image, 2)
    # What the new block adds is zero; only the input's weight in the sum changes.
    grown = discriminator.blocks["32"](discriminator.from_rgb["32"](image))
    assert grown.abs().max() == 0
    assert discriminator(image).shape == discriminator(x).shape == (4,)
    small = generator.synthesis(generator.broadcast(torch.randn(1, 24)), resolution=16)
    assert small.shape == (1, 3, 16, 16)


def random_tokens(table, batch):
    return PackedTokens(
        P=torch.randn(batch, 2, table.sum_out) * 0.1,
        Q=torch.randn(batch, 2, table.sum_in) * 0.1,
        style_offset=torch.randn(batch, table.style_channels_with_torgb) * 0.1,
        modulation=1 + torch.randn(batch, table.sum_in) * 0.1,
    )


@pytest.mark.parametrize("split", range(7))
@torch.inference_mode()
def test_the_two_parts_are_the_whole(generator, split):
    table, synthesis = generator.table, generator.synthesis
    w_plus = torch.randn(2, generator.num_ws, 24)
    tokens = random_tokens(table, 2)
    feature, image = synthesis.lower(w_plus, tokens, split=split)
    layer = table.convs[split]
    side = layer.resolution // layer.up
    assert feature.shape == (2, layer.in_channels, side, side)
    whole = synthesis(w_plus, tokens)
    assert torch.equal(synthesis.upper(feature, image, w_plus, tokens, split=split), whole)
    moved = synthesis.upper(feature + 1, image, w_plus, tokens, split=split)
    assert (moved - whole).abs().mean() > 0.01


def test_a_feature_keeps_the_earlier_torgbs(generator):
    feature, image = generator.synthesis.lower(torch.randn(1, generator.num_ws, 24), split=5)
    assert feature.shape[2:] == image.shape[2:] == (16, 16)
    assert generator.synthesis.lower(torch.randn(1, generator.num_ws, 24), split=0)[1] is None
    with pytest.raises(UsageError, match="convolution 7"):
        generator.synthesis.lower(torch.randn(1, generator.num_ws, 24), split=7)
