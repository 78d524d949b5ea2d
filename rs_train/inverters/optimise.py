"""Inversion by optimisation: w_plus itself is fitted to one picture."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rs_train.generator import Generator
from rs_train.losses.l2 import l2_loss
from rs_train.losses.lpips import PictureDistance, lpips_loss
from rs_train.perceptual.preprocessing import to_size

LOOKED_AT = 256  # largest side at which pictures are compared


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a picture is inverted by optimisation.

    Attributes:
        steps: Updates of w_plus.
        lr: Adam's learning rate.
        l2: Weight of the squared error.
        perceptual: Weight of the feature distance.
        prior: Weight of the distance from the latents that the mapping network makes.
    """

    steps: int = 1000
    lr: float = 0.01
    l2: float = 1.0
    perceptual: float = 1.0
    prior: float = 0.01


class LatentPrior:
    """How far latents are from those of the mapping network, in its own deviations.

    The activation at the end of the mapping network is undone, which leaves something close to a
    normal distribution; there latents are measured along its principal components.

    Args:
        generator: Whose mapping network is sampled.
        samples: Number of samples.

    Source: Zhu et al. 2020, "Improved StyleGAN embedding: where are the good latents?" (II2S), the
    P_N space and its regulariser.
    """

    @torch.no_grad()
    def __init__(self, generator: Generator, samples: int = 20_000) -> None:
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(samples, generator.config.z_dim, generator=rng)
        p = _linear(generator.mapping(z.to(generator.latent_avg.device)).float())
        self.mean = p.mean(dim=0)
        values, self.components = torch.linalg.eigh(torch.cov(p.T))
        # Directions that the mapping network hardly uses must not count without bound.
        self.deviation = values.clamp(min=1e-4 * values.max().item()).sqrt()

    def __call__(self, w_plus: Tensor) -> Tensor:
        """Mean square of the whitened latents [N, num_ws, w_dim]; scalar, about 1 for samples."""
        return (((_linear(w_plus) - self.mean) @ self.components) / self.deviation).square().mean()


def optimise_latent(
    image: Tensor,
    start: Tensor,
    generator: Generator,
    distance: PictureDistance,
    config: Optimisation,
) -> Tensor:
    """Fit w_plus to pictures, by squared error, feature distance and closeness to the mapping's.

    Pictures of another domain are found as the heads of the generator's own that are like them.

    Args:
        image: [N, 3, R, R] in [-1, 1], R the generator's resolution.
        start: w_plus [N, num_ws, w_dim] to begin with, such as an encoder's answer.
        generator: Frozen.
        distance: LPIPS or what stands in for it.
        config: Steps, rate and weights.

    Returns:
        w_plus [N, num_ws, w_dim] in fp32.

    Source: II2S as MindTheGap (Zhu et al. 2022) uses it, with its weights as defaults; it starts
    from the mean latent.
    """
    prior = LatentPrior(generator)
    wanted = looked_at(image)
    w_plus = start.detach().float().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([w_plus], config.lr)
    for _ in range(config.steps):
        found = looked_at(generator.synthesis(w_plus).clamp(-1, 1))
        loss = config.l2 * l2_loss(found, wanted)
        loss = loss + config.perceptual * lpips_loss(distance, found, wanted)
        loss = loss + config.prior * prior(w_plus)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return w_plus.detach()


def looked_at(image: Tensor) -> Tensor:
    """Pictures [N, 3, R, R] at the size at which they are compared."""
    return to_size(image, min(LOOKED_AT, image.shape[-1]))


def _linear(w: Tensor) -> Tensor:
    """Latents before the mapping network's last leaky ReLU (slope 0.2), up to its gain."""
    return F.leaky_relu(w, 5.0)
