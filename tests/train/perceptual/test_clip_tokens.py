"""Vectors of places out of CLIP's image towers."""

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.perceptual.clip import Clip, ClipConfig, ClipGuide
from rs_train.perceptual.clip_tokens import embed_with_tokens
from rs_train.perceptual.preprocessing import Preprocessing, to_clip_input
from rs_train.perceptual.torchvision_shim import import_package


def transformer(layers: int) -> ClipGuide:
    open_clip = import_package("open_clip", "This test")
    vision = open_clip.CLIPVisionCfg(
        layers=layers, width=16, head_width=8, patch_size=8, image_size=32
    )
    text = open_clip.CLIPTextCfg(context_length=8, width=8, heads=1, layers=1)
    torch.manual_seed(0)
    network = open_clip.CLIP(12, vision, text).eval()
    return ClipGuide(network, None, Preprocessing(size=32), lambda prompt: [prompt])


def test_patches_of_a_transformer_equal_its_blocks_run_by_hand() -> None:
    clip = transformer(layers=5)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    embedding, tokens = embed_with_tokens(clip, image)
    torch.testing.assert_close(embedding, clip.embed_image(image))
    tower = clip.network.visual
    x = tower.conv1(to_clip_input(image, clip.preprocessing)).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(2, 1, -1), x], dim=1) + tower.positional_embedding
    x = tower.ln_pre(x)
    for block in tower.transformer.resblocks[:4]:
        x = block(x)
    assert tokens.shape == (2, 16, 16)
    torch.testing.assert_close(tokens, x[:, 1:])


def test_cells_of_a_residual_network_keep_their_places() -> None:
    config = ClipConfig(image_size=64, embed_dim=8, vision_width=8, vision_layers=(1, 1, 1, 1))
    clip = Clip(config).eval()
    image = torch.zeros(1, 3, 64, 64)
    other = image.clone()
    other[..., 60:, 60:] = 1
    (before, after) = (embed_with_tokens(clip, x)[1] for x in (image, other))
    assert before.shape == (1, 64, 64)
    change = (after - before).abs().sum(dim=2)[0]
    assert change.argmax() == 63 and not change[:32].any()


def test_a_tower_without_that_block_is_refused_and_left_as_it_was() -> None:
    with pytest.raises(IncompatibleError, match="places of a picture"):
        embed_with_tokens(transformer(layers=3), torch.zeros(1, 3, 32, 32))
    clip = transformer(layers=4)
    embed_with_tokens(clip, torch.zeros(1, 3, 32, 32))
    assert not clip.network.visual.transformer.resblocks[3]._forward_hooks
