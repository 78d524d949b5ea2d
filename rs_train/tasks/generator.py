"""Adversarial training of a generator (StyleGAN2 recipe, grown from a small size)."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_train import processes
from rs_train.capture import CapturedStep, numbers
from rs_train.checkpoint import save_model
from rs_train.devices import Precision, autocast, pick_device
from rs_train.generator import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
)
from rs_train.generator.resample import downsample
from rs_train.generator.synthesis import module_name
from rs_train.grids import grid, to_pixels
from rs_train.loop import LoopConfig
from rs_train.optimizers import adam, minimise


@dataclass(frozen=True, kw_only=True)
class GeneratorTraining:
    """Recipe of the adversarial game.

    Attributes:
        lr: Adam's learning rate of both networks.
        r1_gamma: Weight of the R1 penalty.
        r1_every: Steps between penalties (lazy regularisation).
        ema_images: Half-life, in images, of the averaged generator.
        mixing_probability: Chance that a sample's w_plus changes to a second w part-way.
        growth: Pairs (size, step from which on it is trained); the first step is 0. One pair at
            the full size trains without growing.
        precision: "bf16" for autocast, or "fp32".
    """

    lr: float = 0.002
    r1_gamma: float = 1.0
    r1_every: int = 16
    ema_images: float = 5000.0
    mixing_probability: float = 0.5
    growth: tuple[tuple[int, int], ...] = ()
    precision: Precision = "bf16"


@dataclass(frozen=True, kw_only=True)
class GeneratorRun:
    """Everything a generator training is configured by."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    training: GeneratorTraining = GeneratorTraining()
    loop: LoopConfig


class GeneratorTask:
    """Non-saturating loss, lazy R1, exponential average of the generator.

    Source: StyleGAN2 (Karras et al. 2020); growing by fading from silent blocks replaces the
    interpolation of progressive growing (Karras et al. 2018), RGB skips carry the image meanwhile.
    """

    def __init__(self, config: GeneratorRun, out: Path) -> None:
        """Build the networks from the loop's seed; `out` is where the generator will go."""
        self.config = config
        self.out = out
        self.device = pick_device()
        torch.manual_seed(config.loop.seed)
        self.generator = Generator(config.generator).to(
            self.device, memory_format=torch.channels_last
        )
        self.discriminator = Discriminator(config.discriminator).to(
            self.device, memory_format=torch.channels_last
        )
        self._silence_blocks_above(self._size(0))
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
        }
        self.optimizers = {
            "generator": _adam(self.generator, config.training, lazy_every=None),
            "discriminator": _adam(
                self.discriminator, config.training, lazy_every=config.training.r1_every
            ),
        }
        self._sample_z = torch.randn(
            24, config.generator.z_dim, generator=torch.Generator().manual_seed(1)
        ).to(self.device)
        self._step = 0
        self._update = CapturedStep(self._play, self.device)

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One discriminator update, one generator update, one average update."""
        self._step = step
        real = batch["image"].to(self.device)
        # The ramp lets the average forget the first pictures quickly.
        images = len(real) * processes.count()
        half_life = min(self.config.training.ema_images, (step + 1) * images * 0.05)
        follow = torch.tensor(1 - 0.5 ** (images / half_life), device=self.device)
        is_penalised = step % self.config.training.r1_every == 0
        return numbers(self._update(self._size(step), is_penalised, real=real, follow=follow))

    def samples(self) -> np.ndarray:
        """Pictures of the averaged generator for fixed z, truncated to 0.8."""
        with torch.no_grad(), autocast(self.device, self.config.training.precision):
            w = self.average.mapping(self._sample_z, 0.8)
            size = self._size(self._step)
            images = self.average.synthesis(self.average.broadcast(w), resolution=size)
        return grid(to_pixels(images), columns=8)

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the averaged generator with its latent_avg."""
        self.average.update_latent_avg()
        save_model(self.out, self.average, record)
        return [self.out]

    def _size(self, step: int) -> int:
        growth = self.config.training.growth or ((self.config.generator.resolution, 0),)
        return max(size for size, first in growth if first <= step)

    def _draw(self, count: int, size: int) -> Tensor:
        config = self.config
        z = torch.randn(2, count, config.generator.z_dim, device=self.device)
        first, second = self.generator.mapping_network(z)
        with torch.no_grad():
            self.generator.latent_avg.lerp_(first.float().mean(0), 0.005)
        rows = torch.arange(self.generator.num_ws, device=self.device)
        cut = torch.randint(1, self.generator.num_ws, (count, 1), device=self.device)
        is_mixed = torch.rand(count, 1, device=self.device) < config.training.mixing_probability
        takes_second = (rows >= cut) & is_mixed  # [N, num_ws]
        w_plus = torch.where(takes_second[:, :, None], second[:, None], first[:, None])
        return self.generator.synthesis(w_plus, noise_mode="random", resolution=size)

    def _play(
        self, size: int, is_penalised: bool, *, real: Tensor, follow: Tensor
    ) -> dict[str, Tensor]:
        real = downsample(real, real.shape[-1] // size)
        figures = self._discriminator_step(real, size, is_penalised)
        figures |= self._generator_step(len(real), size)
        self._update_average(follow)
        return figures

    def _discriminator_step(self, real: Tensor, size: int, is_penalised: bool) -> dict[str, Tensor]:
        training = self.config.training
        with autocast(self.device, training.precision):
            with torch.no_grad():
                fake = self._draw(real.shape[0], size)
            real = real.detach().contiguous(memory_format=torch.channels_last)
            real.requires_grad_(is_penalised)
            logits_real = self.discriminator(real)
            logits_fake = self.discriminator(fake)
            loss = F.softplus(logits_fake).mean() + F.softplus(-logits_real).mean()
        figures = {"d_loss": loss, "real": logits_real.mean()}
        if is_penalised:
            (gradient,) = torch.autograd.grad(logits_real.sum(), real, create_graph=True)
            penalty = gradient.float().square().sum(dim=(1, 2, 3)).mean()
            loss = loss + penalty * (training.r1_gamma / 2 * training.r1_every)
            figures["r1"] = penalty
        minimise(self.optimizers["discriminator"], [loss])
        return figures

    def _generator_step(self, count: int, size: int) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(False)
        with autocast(self.device, self.config.training.precision):
            logits = self.discriminator(self._draw(count, size))
            loss = F.softplus(-logits).mean()
        minimise(self.optimizers["generator"], [loss])
        self.discriminator.requires_grad_(True)
        return {"g_loss": loss, "fake": logits.mean()}

    @torch.no_grad()
    def _update_average(self, follow: Tensor) -> None:
        for average, value in zip(
            self.average.state_dict().values(), self.generator.state_dict().values(), strict=True
        ):
            average.lerp_(value, follow)

    @torch.no_grad()
    def _silence_blocks_above(self, size: int) -> None:
        self.discriminator.silence_blocks_above(size)
        for layer in self.generator.table.torgbs:
            if layer.resolution > size:
                self.generator.synthesis.layers[module_name(layer)].weight.zero_()


def _adam(
    model: nn.Module, training: GeneratorTraining, lazy_every: int | None
) -> torch.optim.Optimizer:
    # Lazy regularisation: both constants follow the share of ordinary steps (StyleGAN2, B).
    ratio = 1.0 if lazy_every is None else lazy_every / (lazy_every + 1)
    return adam(model.parameters(), training.lr * ratio, (0.0, 0.99**ratio))
