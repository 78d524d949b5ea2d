"""Inversion by optimisation."""

import pytest
import torch
from torch import Tensor

from rs_train.generator import Generator, GeneratorConfig
from rs_train.inverters.optimise import LatentPrior, Optimisation, optimise_latent


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(channels=(16, 16, 8), z_dim=16, w_dim=16, mapping_layers=2)
    generator = Generator(config)
    generator.update_latent_avg(samples=1000)
    return generator.eval().requires_grad_(False)


def distance(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs().mean(dim=(1, 2, 3))


def heads(generator: Generator, count: int) -> Tensor:
    torch.manual_seed(1)
    return generator.broadcast(generator.mapping(torch.randn(count, 16)))


def test_a_head_of_the_generators_own_is_found(generator: Generator) -> None:
    image = generator.synthesis(heads(generator, 2))
    start = generator.broadcast(generator.latent_avg.expand(2, -1))
    config = Optimisation(steps=60, lr=0.05)
    found = optimise_latent(image, start, generator, distance, config)
    before, after = (
        (generator.synthesis(w).clamp(-1, 1) - image.clamp(-1, 1)).square().mean()
        for w in (start, found)
    )
    assert after < 0.2 * before
    assert found.shape == start.shape and not found.requires_grad


def test_samples_are_at_distance_one_and_the_prior_draws_towards_them(generator: Generator) -> None:
    prior = LatentPrior(generator)
    near = prior(heads(generator, 500)).item()
    far = heads(generator, 4) + torch.randn(4, generator.num_ws, 16)
    assert near == pytest.approx(1, rel=0.2) and prior(far) > 3 * near
    image = generator.synthesis(far)  # perfect already: only the prior has something to ask for
    config = Optimisation(steps=30, lr=0.02, prior=1.0)
    held = optimise_latent(image, far, generator, distance, config)
    loose = optimise_latent(image, far, generator, distance, Optimisation(steps=30, prior=0.0))
    assert prior(held) < 0.5 * prior(far) < prior(loose)


def test_the_prior_whitens_by_components(generator: Generator) -> None:
    prior = LatentPrior(generator, samples=4000)
    rng = torch.Generator().manual_seed(0)
    w = generator.mapping(torch.randn(4000, 16, generator=rng))
    p = torch.where(w < 0, 5 * w, w)
    total = 0.0
    for component, deviation in zip(prior.components.T, prior.deviation, strict=True):
        along = (p - p.mean(dim=0)) @ component
        total += float((along[:3] / deviation).square().mean()) / len(prior.deviation)
        if deviation > prior.deviation.max() / 50:
            assert along.std().item() == pytest.approx(deviation.item(), rel=1e-3)
    assert prior(w[:3, None]).item() == pytest.approx(total, rel=1e-4)
