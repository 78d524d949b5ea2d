"""Heads to train on, and the files of inverted portraits."""

from pathlib import Path

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError, MalformedFileError
from rs_train.domains.codes import Codes, read_codes, write_codes
from rs_train.domains.pool import HeadPool, PoolConfig
from rs_train.generator import Generator, GeneratorConfig


def make(generator: Generator, codes: Codes | None, **options: object) -> HeadPool:
    return HeadPool(generator, PoolConfig(**options), codes, seed=3, precision="fp32")


def test_pictures_are_the_heads_own(generator: Generator, codes: Codes) -> None:
    pool = make(generator, codes, random_heads=5)
    assert len(pool) == 11
    heads = pool.take(torch.arange(11))
    expected = generator.synthesis(heads.w_plus, heads.tokens).clamp(-1, 1)
    assert (heads.image - expected).abs().max() <= 1.01 / 255  # kept in 8 bits
    torch.testing.assert_close(heads.w_plus[5:], codes.w_plus)
    assert heads.tokens.P[:5].abs().max() == 0
    torch.testing.assert_close(heads.tokens.P[5:], codes.P)


def test_batches_hold_the_share_of_portraits(generator: Generator, codes: Codes) -> None:
    pool = make(generator, codes, random_heads=5, portrait_share=0.25)
    for _ in range(5):
        has_tokens = pool.draw(8).tokens.P.flatten(1).abs().amax(dim=1) > 0
        assert has_tokens.sum() == 2
    alone = make(generator, codes, random_heads=0).draw(3)
    assert alone.w_plus.shape == (3, generator.num_ws, 16)
    assert make(generator, None, random_heads=4).draw(3).tokens.P is None


def test_truncation_and_mixing(generator: Generator) -> None:
    options = {"random_heads": 50, "mixing_probability": 0.0}
    narrow = make(generator, None, truncation=(0.0, 0.0), **options).codes.w_plus
    torch.testing.assert_close(narrow, generator.latent_avg.expand_as(narrow))
    plain = make(generator, None, truncation=(1.0, 1.0), **options).codes.w_plus
    assert (plain == plain[:, :1]).all()
    options["mixing_probability"] = 1.0
    mixed = make(generator, None, truncation=(1.0, 1.0), **options).codes.w_plus
    changes = (mixed[:, 1:] != mixed[:, :-1]).any(dim=2).sum(dim=1)
    assert (changes == 1).all()


def test_codes_survive_their_file_and_know_their_generator(
    generator: Generator, codes: Codes, tmp_path: Path
) -> None:
    path = tmp_path / "codes.safetensors"
    write_codes(path, codes, generator)
    again = read_codes(path, generator)
    torch.testing.assert_close(again.P, codes.P, rtol=0, atol=0)
    other = Generator(GeneratorConfig(channels=(16, 16, 16, 8), z_dim=16, w_dim=16))
    with pytest.raises(IncompatibleError, match="another generator"):
        read_codes(path, other)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MalformedFileError):
        read_codes(path, generator)
