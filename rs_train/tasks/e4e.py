"""Training of e4e: rows are set free one after another, and kept where the generator can edit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rs_train.devices import autocast
from rs_train.inverters.style_head import add_to_first
from rs_train.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from rs_train.optimizers import adam, minimise
from rs_train.tasks.base_inverter import BaseInverterTask
from rs_train.tasks.inverter import InverterRun


@dataclass(frozen=True, kw_only=True)
class Editing:
    """What keeps latents editable (e4e, sections 4 and 5).

    Attributes:
        progressive_from: Step at which the second row may differ from the first.
        progressive_every: Steps between one row and the next.
        discriminator_lr: Adam's learning rate of the latent discriminator.
        r1_gamma: Weight of its R1 penalty.
        r1_every: Steps between penalties.
        pool: Latents of earlier steps that the discriminator is shown again, of each kind.
    """

    progressive_from: int = 20_000
    progressive_every: int = 2_000
    discriminator_lr: float = 2e-5
    r1_gamma: float = 10.0
    r1_every: int = 16
    pool: int = 50


@dataclass(frozen=True, kw_only=True)
class E4ERun(InverterRun):
    """Everything an e4e training is configured by; `training.delta` and `.editability` weigh."""

    editing: Editing = Editing()


class LatentDiscriminator(nn.Module):
    """Tells rows of w_plus [N, w_dim] from w that the mapping makes; logits [N, 1]."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        hidden = [m for _ in range(4) for m in (nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2))]
        self.layers = nn.Sequential(*hidden, nn.Linear(w_dim, 1))

    def forward(self, w: Tensor) -> Tensor:
        """Logits."""
        return self.layers(w)


class LatentPool(nn.Module):
    """Latents of earlier steps: half of those asked for are swapped for older ones.

    Source: Shrivastava et al. 2017, section 2.3, as used by e4e. A module, so that checkpoints
    keep what is in it.
    """

    def __init__(self, size: int, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(size, w_dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, w: Tensor) -> Tensor:
        """Keep latents [N, w_dim] and return as many, new and old."""
        result = w.clone()
        for index, latent in enumerate(w):
            filled = int(self.count)
            if filled < len(self.kept):
                self.kept[filled] = latent
                self.count += 1
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(len(self.kept), ()))
                result[index] = self.kept[place]
                self.kept[place] = latent
        return result


class E4ETask(BaseInverterTask):
    """Trains e4e: image losses, small differences between rows, rows that look like w."""

    model_name = "e4e"
    is_captured = False  # rows become free on the way
    config: E4ERun

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As the base inverters; the latent discriminator comes in addition."""
        super().__init__(*arguments, **options)
        w_dim, editing = self.model.config.w_dim, self.config.editing
        self.discriminator = LatentDiscriminator(w_dim).to(self.device)
        self.pools = nn.ModuleList(LatentPool(editing.pool, w_dim) for _ in range(2))
        self.modules |= {"discriminator": self.discriminator, "pools": self.pools.to(self.device)}
        parameters = self.discriminator.parameters()
        self.optimizers["discriminator"] = adam(parameters, editing.discriminator_lr, (0.9, 0.999))
        self.rows = 1

    def free_rows(self, step: int) -> int:
        """How many rows may differ at a step."""
        editing = self.config.editing
        if step < editing.progressive_from:
            return 1
        freed = (step - editing.progressive_from) // editing.progressive_every
        return min(2 + freed, self.model.config.num_ws)

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update of the inverter, then one of the discriminator."""
        self.rows = self.free_rows(step)
        figures = super().step(step, batch)
        if self.config.training.editability:
            figures |= self._discriminator_step(step, self._place(batch["image"]))
        return figures

    @torch.no_grad()
    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the inverter; heads of rows that never became free are silenced."""
        for head in self.model.heads[self.free_rows(self.config.loop.steps - 1) :]:
            head.linear.weight.zero_()
            head.linear.bias.zero_()
        return super().finish(run_dir, record)

    def invert(self, image: Tensor) -> Tensor:
        """w_plus with the differences that are free."""
        rows = self.model.rows(image)
        free = torch.arange(rows.shape[1], device=rows.device) < self.rows
        return add_to_first(rows * free[:, None]) + self.model.latent_avg

    def latent_losses(self, w_plus: Tensor) -> dict[str, Tensor]:
        """Length of the differences, summed over the rows; how far rows are from looking like w."""
        losses = {}
        free = w_plus[:, : self.rows]
        if self.config.training.delta:
            lengths = torch.linalg.vector_norm(free[:, 1:] - free[:, :1], dim=2)
            losses["delta"] = lengths.mean(0).sum()
        if self.config.training.editability:
            self.discriminator.requires_grad_(False)
            losses["editability"] = generator_loss([self.discriminator(free.flatten(0, 1))])
        return losses

    def _discriminator_step(self, step: int, photo: Tensor) -> dict[str, float]:
        editing, optimizer = self.config.editing, self.optimizers["discriminator"]
        self.discriminator.requires_grad_(True)
        with torch.no_grad(), autocast(self.device, self.config.training.precision):
            fake = self.invert(photo).float()[:, : self.rows].flatten(0, 1)
            z = torch.randn(len(photo), self.generator.config.z_dim, device=self.device)
            real = self.generator.mapping(z).float()
        real, fake = self.pools[0].exchange(real), self.pools[1].exchange(fake)
        loss = discriminator_loss([self.discriminator(real)], [self.discriminator(fake)])
        figures = {"discriminator": loss.item()}
        if step % editing.r1_every == 0:
            real = real[..., None, None].requires_grad_(True)
            penalty = r1_penalty([self.discriminator(real.flatten(1))], real)
            loss = loss + editing.r1_gamma * editing.r1_every * penalty
            figures["r1"] = penalty.item()
        minimise(optimizer, [loss])
        return figures
