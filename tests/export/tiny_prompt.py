"""A tiny CLIP with a tokenizer of its own, and a hypernetwork for the tiny generator."""

from pathlib import Path

import torch

from rs_train.checkpoint import load_model, save_model
from rs_train.domains.hypernetwork import HyperDomainNet, HyperDomainNetConfig, clip_fingerprint
from rs_train.generator import Generator
from rs_train.perceptual.clip import Clip, ClipConfig
from rs_train.perceptual.tokenizer_file import train_tokenizer

CONTEXT = 16
LOOKS = {
    "charcoal": ["a charcoal drawing of a face", "a face in charcoal"],
    "oil": ["an oil painting of a face"],
}


def tiny_clip(seed: int = 0) -> Clip:
    torch.manual_seed(seed)
    texts = [text for wordings in LOOKS.values() for text in wordings]
    config = ClipConfig(
        image_size=32,
        embed_dim=8,
        vision_layers=(1, 1, 1, 1),
        vision_width=4,
        text_width=8,
        text_layers=1,
        context_length=CONTEXT,
        tokenizer=train_tokenizer(texts, 300),
    )
    return Clip(config).eval()


def tiny_hypernetwork(generator: Generator, clip: Clip, predicts: str) -> HyperDomainNet:
    """A network with statistics and outputs that are not those of its first values."""
    torch.manual_seed(1)
    channels = tuple((c.in_channels, c.out_channels) for c in generator.table.convs)
    network = HyperDomainNet(
        HyperDomainNetConfig(
            conv_channels=channels,
            predicts=predicts,
            rank=2,
            embed_dim=8,
            width=16,
            trunk_depth=2,
            head_depth=2,
            clip=clip_fingerprint(clip),
            generator=generator.fingerprint(),
        )
    )
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_()
    return network.eval()


def save_prompt_part(folder: Path, generator: Generator, predicts: str) -> None:
    """Write prompt_clip.safetensors and hypernetwork.safetensors beside the other checkpoints."""
    save_model(folder / "prompt_clip.safetensors", tiny_clip(), {"licence": "CC0-1.0"})
    clip = load_model(folder / "prompt_clip.safetensors")
    record = {"licence": "CC-BY-4.0", "config": {"domains": LOOKS}}
    network = tiny_hypernetwork(generator, clip, predicts)
    save_model(folder / "hypernetwork.safetensors", network, record)
