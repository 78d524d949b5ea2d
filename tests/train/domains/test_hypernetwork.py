"""The hypernetwork: published size, its two heads, and what it refuses to be used with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.checkpoint import load_model, save_model
from rs_train.domains.hypernetwork import (
    HyperDomainNet,
    HyperDomainNetConfig,
    clip_fingerprint,
    require_match,
)
from rs_train.generator import Generator
from rs_train.perceptual.clip import Clip, ClipConfig

BLOCK = 2 * (512 * 512 + 512) + 2 * 2 * 512  # two linear layers, two normalisations


def small(generator: Generator, /, **fields: object) -> HyperDomainNet:
    torch.manual_seed(0)
    channels = tuple((layer.in_channels, layer.out_channels) for layer in generator.table.convs)
    config = HyperDomainNetConfig(conv_channels=channels, embed_dim=6, width=8, rank=2)
    return HyperDomainNet(replace(config, **fields)).eval()


def test_published_size() -> None:
    with torch.device("meta"):
        network = HyperDomainNet(HyperDomainNetConfig())
    trunk = 512 * 512 + 512 + 2 * 512 + 3 * BLOCK
    heads = 17 * BLOCK + 513 * 6048  # 6,048 channels read the 17 convolutions
    assert sum(p.numel() for p in network.parameters()) == trunk + heads == 13_913_504


@pytest.mark.parametrize("predicts", ["modulation", "tokens"])
def test_an_untrained_network_changes_all_but_nothing(generator: Generator, predicts: str) -> None:
    network = small(generator, predicts=predicts)
    embedding = torch.nn.functional.normalize(torch.randn(3, 6), dim=1)
    change = network(embedding)
    table = generator.table
    if predicts == "modulation":
        assert change.modulation.shape == (3, table.sum_in)
    else:
        assert change.P.shape == (3, 2, table.sum_out)
        assert change.Q.shape == (3, 2, table.sum_in)
        assert change.Q.std() > 0.05
    w_plus = generator.broadcast(generator.mapping(torch.randn(3, 16)))
    plain, changed = generator.synthesis(w_plus), generator.synthesis(w_plus, change)
    assert (changed - plain).abs().mean() < 0.02 * plain.std()


def test_each_head_speaks_of_its_own_convolution(generator: Generator) -> None:
    network = small(generator, predicts="tokens", scale_init=1.0)
    layer = generator.table.convs[3]
    with torch.no_grad():
        network.heads[3][-1].bias.fill_(2.0)
    change = network(torch.zeros(1, 6))
    is_P = torch.zeros(generator.table.sum_out, dtype=torch.bool)
    is_P[generator.table.out_slices[layer.name]] = True
    assert torch.equal((change.P - 2).abs().amax(dim=(0, 1)) < 0.1, is_P)
    assert (change.Q[..., generator.table.in_slices[layer.name]] - 2).abs().max() < 0.1


def test_a_file_gives_the_same_domains(generator: Generator, tmp_path: Path) -> None:
    network = small(generator, predicts="tokens", clip="c", generator="g")
    save_model(tmp_path / "h.safetensors", network)
    read = load_model(tmp_path / "h.safetensors", expect="hypernetwork")
    assert read.config == network.config
    embedding = torch.randn(2, 6)
    torch.testing.assert_close(read(embedding).P, network(embedding).P, rtol=0, atol=0)


def test_another_generator_or_clip_is_refused(generator: Generator) -> None:
    clip = Clip(ClipConfig(image_size=32, embed_dim=6, vision_width=8, context_length=16)).eval()
    right = {"clip": clip_fingerprint(clip), "generator": generator.fingerprint()}
    require_match(small(generator, **right), generator, clip)
    require_match(small(generator), generator, clip)  # names none
    for what in right:
        wrong = small(generator, **(right | {what: "0" * 64}))
        with pytest.raises(IncompatibleError, match=f"another {what}"):
            require_match(wrong, generator, clip)


def test_a_fingerprint_tells_networks_and_tokenizers_apart() -> None:
    config = ClipConfig(image_size=32, embed_dim=6, vision_width=8, context_length=16)
    clip = Clip(config)
    name = clip_fingerprint(clip)
    assert name == clip_fingerprint(clip)
    with torch.no_grad():
        clip.network.visual.conv1.weight[0, 0, 0, 0] += 1e-3
    assert clip_fingerprint(clip) != name
