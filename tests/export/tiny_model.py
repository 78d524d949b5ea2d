"""A tiny two-stage model, its domains and its checkpoints."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from rs_runtime.contracts.tokens import TokenSet, write_token_set
from rs_train.checkpoint import save_model
from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters import trunk
from rs_train.inverters.refine import Refiner, RefinerConfig
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig

RANK = 2
SIZE = 16
WIDTHS = {"channels": (8, 8, 12, 16), "heads": 2}


@contextmanager
def short_trunk() -> Iterator[None]:
    """One unit a stage instead of 24 in all: tracing them takes nearly all the time."""
    with mock.patch.object(trunk, "UNITS_PER_STAGE", (1, 1, 1, 1)):
        yield


def tiny_generator(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    config = GeneratorConfig(channels=(16, 16, 12, 8), z_dim=16, w_dim=16, mapping_layers=2)
    generator = Generator(config).eval()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
    generator.update_latent_avg(256)
    return generator


def domain_of(generator: Generator, name: str) -> TokenSet:
    rng = np.random.default_rng(len(name))
    table = generator.table
    return TokenSet(
        kind="domain",
        name=name,
        P={c.name: rng.standard_normal((RANK, c.out_channels)) * 0.1 for c in table.convs},
        Q={c.name: rng.standard_normal((RANK, c.in_channels)) * 0.1 for c in table.convs},
        style_offset={},
        modulation={},
        w_plus=None,
        source="a test",
        licence="CC0-1.0",
        fingerprint=generator.fingerprint(),
        table_hash=table.hash,
    )


def save_checkpoints(folder: Path) -> None:
    generator = tiny_generator()
    convs = tuple((c.in_channels, c.out_channels) for c in generator.table.convs)
    base = StyleTransformer(
        StyleTransformerConfig(
            image_size=SIZE, num_ws=generator.num_ws, z_dim=16, w_dim=16, **WIDTHS
        )
    )
    base.start_from(generator.latent_avg, torch.full((16,), 0.3))
    base.bake(generator.mapping)
    refiner = Refiner(
        RefinerConfig(
            image_size=SIZE,
            conv_channels=convs,
            refined_layers=len(convs) - 1,
            rank=RANK,
            token_scale_init=0.3,
            **WIDTHS,
        )
    )
    record = {"licence": "CC0-1.0"}
    for name, model in (("generator", generator), ("base_inverter", base), ("refiner", refiner)):
        save_model(folder / f"{name}.safetensors", model, record)
    (folder / "domains").mkdir()
    for name in ("sketch", "oil"):
        write_token_set(folder / "domains" / f"{name}.tokens", domain_of(generator, name))
    measured = {"mse_p50": 0.01, "mse_p99": 0.1, "pictures": 500, "knows": "noise"}
    (folder / "reconstruction.json").write_text(json.dumps(measured))
