"""A small generator and small inverters, seeded."""

import pytest
import torch

from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters import Refiner, RefinerConfig, StyleTransformer, StyleTransformerConfig

CHANNELS = (4, 8, 8, 16)


@pytest.fixture
def generator() -> Generator:
    """32 × 32, w_dim 16, seven convolutions."""
    torch.manual_seed(0)
    config = GeneratorConfig(channels=(16, 16, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    generator = Generator(config)
    generator.update_latent_avg(samples=1000)
    return generator.eval().requires_grad_(False)


@pytest.fixture
def base(generator: Generator) -> StyleTransformer:
    """Untrained base inverter with a baked query."""
    torch.manual_seed(1)
    config = StyleTransformerConfig(
        image_size=32, num_ws=generator.num_ws, z_dim=16, w_dim=16, channels=CHANNELS, heads=2
    )
    model = StyleTransformer(config)
    model.bake(generator.mapping)
    return model.eval()


@pytest.fixture
def refiner(generator: Generator) -> Refiner:
    """Untrained refiner of the last five of the seven convolutions."""
    torch.manual_seed(2)
    channels = tuple((layer.in_channels, layer.out_channels) for layer in generator.table.convs)
    config = RefinerConfig(
        image_size=32,
        conv_channels=channels,
        refined_layers=5,
        rank=3,
        channels=CHANNELS,
        heads=2,
        token_scale_init=0.1,
    )
    return Refiner(config).eval()
