"""Random checkpoints of the published two-stage model, to measure a bundle at full size.

    python benchmarks/full_size.py --out models
    rs-export --model two_stage --fp16 --checkpoint models --out bundle
    rs-run bench --bundle bundle --out FILE

Random weights draw noise, but start, memory and speed depend on shapes alone. The bundle has two
domains of rank 256.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cpu_forms import random_generator
from rs_runtime.contracts.tokens import TokenSet, write_token_set
from rs_train.checkpoint import save_model
from rs_train.generator import Generator
from rs_train.inverters.build import Network, build

DOMAIN_RANK = 256
_RECORD = {"licence": "CC0-1.0"}


def main() -> None:
    """Parse the options and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=1024)
    options = parser.parse_args()
    (options.out / "domains").mkdir(parents=True)
    generator = random_generator(options.size)
    generator.update_latent_avg(256)
    base = build("style_transformer", Network(), generator.config)
    base.start_from(generator.latent_avg, torch.full((generator.config.w_dim,), 0.3))
    base.bake(generator.mapping)
    refiner = build("two_stage", Network(), generator.config)
    parts = {"generator": generator, "base_inverter": base, "refiner": refiner}
    for name, model in parts.items():
        save_model(options.out / f"{name}.safetensors", model.eval(), _RECORD)
    for seed, name in enumerate(("first", "second")):
        path = options.out / "domains" / f"{name}.tokens"
        write_token_set(path, random_domain(generator, name, seed))


def random_domain(generator: Generator, name: str, seed: int) -> TokenSet:
    """A domain as large as the published ones, of tokens too small to drown the picture."""
    rng = np.random.default_rng(seed)
    table = generator.table

    def tokens(width: int) -> np.ndarray:
        return 0.01 * rng.standard_normal((DOMAIN_RANK, width), np.float32)

    return TokenSet(
        kind="domain",
        name=name,
        P={conv.name: tokens(conv.out_channels) for conv in table.convs},
        Q={conv.name: tokens(conv.in_channels) for conv in table.convs},
        style_offset={},
        modulation={},
        w_plus=None,
        source="random numbers",
        licence="CC0-1.0",
        fingerprint=generator.fingerprint(),
        table_hash=table.hash,
    )


if __name__ == "__main__":
    main()
