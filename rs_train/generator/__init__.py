"""StyleGAN2 in plain PyTorch operations, with refinable convolutions."""

from rs_train.generator.discriminator import Discriminator, DiscriminatorConfig
from rs_train.generator.generator import Generator, GeneratorConfig
from rs_train.generator.refined_conv import FORMS, refined_conv
from rs_train.generator.tokens import PackedTokens, pack

__all__ = [
    "FORMS",
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "PackedTokens",
    "pack",
    "refined_conv",
]
