"""Adapting a generator to a domain by optimising a change of it, with everything else frozen."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.tokens import TokenSet, write_token_set
from rs_train.capture import numbers
from rs_train.devices import Precision, autocast, pick_device
from rs_train.domains.description import DomainDescription
from rs_train.domains.discriminator import DomainDiscriminator
from rs_train.domains.parameterisation import TokenParameterisation, add_domain
from rs_train.domains.pool import HeadPool, Heads, PoolConfig
from rs_train.generator import Generator
from rs_train.grids import grid, to_pixels
from rs_train.loop import LoopConfig
from rs_train.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from rs_train.losses.direction import direction_loss, text_direction
from rs_train.losses.identity import embedding_distance
from rs_train.losses.perceptual import perceptual_loss
from rs_train.losses.sliced_wasserstein import neighbourhoods, texture_distance
from rs_train.losses.structure import structure_loss
from rs_train.optimizers import minimise, set_rate
from rs_train.perceptual.arcface import ArcFace
from rs_train.perceptual.augment import Augmentation, apply_view, augment, draw_view
from rs_train.perceptual.clip import ClipGuide
from rs_train.perceptual.templates import fill_templates
from rs_train.processes import share
from rs_train.schedule import scheduled_rate

SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the losses; a loss whose network or pictures are missing is left out.

    Attributes:
        direction: CLIP's direction loss between the prompts.
        adversarial: Non-saturating loss of the patch discriminator against the references.
        texture: Sliced Wasserstein distance of coarse colours and of ArcFace's features to the
            references'.
        structure: Lack of correlation of local contrast with the source head.
        identity: 1 - cosine of ArcFace's embedding with the source head's.
        penalty: Size of the change.
        l1: Paired: absolute difference to the true picture.
        perceptual: Paired: distance of ArcFace's features to the true picture's.
    """

    direction: float = 0.5
    adversarial: float = 0.3
    texture: float = 1.0
    structure: float = 3.0
    identity: float = 0.3
    penalty: float = 0.02
    l1: float = 1.0
    perceptual: float = 0.5


@dataclass(frozen=True, kw_only=True)
class DomainTraining:
    """Recipe of a domain.

    Attributes:
        rank: Rows of P and Q a layer, L.
        scale_init: First value of A and B.
        lr: Adam's learning rate of the change.
        decay_from: Share of the steps after which the rate follows a half cosine to zero.
        average: Decay of the exponential average that is written.
        structure_enough: Correlation of local contrast from which on structure asks for no more.
        discriminator_width: Channels of the discriminator's first layer.
        discriminator_lr: Adam's learning rate of the discriminator.
        r1_gamma: Weight of the R1 penalty.
        r1_every: Steps between penalties (lazy regularisation).
        guide_view: Random views in front of CLIP, the same for both pictures of a pair.
        discriminator_view: Random views of the discriminator's inputs.
        precision: "bf16" for autocast, or "fp32".
    """

    rank: int = 8
    scale_init: float = 0.01
    lr: float = 0.01
    decay_from: float = 0.6
    average: float = 0.99
    structure_enough: float = 0.7
    discriminator_width: int = 32
    discriminator_lr: float = 0.002
    r1_gamma: float = 1.0
    r1_every: int = 8
    guide_view: Augmentation = field(default_factory=Augmentation)
    discriminator_view: Augmentation = field(default_factory=Augmentation)
    precision: Precision = "bf16"


@dataclass(frozen=True, kw_only=True)
class DomainRun:
    """Everything a domain training is configured by."""

    training: DomainTraining = field(default_factory=DomainTraining)
    weights: Weights = field(default_factory=Weights)
    pool: PoolConfig = field(default_factory=PoolConfig)
    loop: LoopConfig


class DomainTask(ABC):
    """What all ways to a domain share: the change, its average, schedule, samples, writing.

    A subclass computes `losses`. The generator stays as it is; its mapping network and toRGB layers
    are never changed by tokens (RefineStyle, section 3.3).
    """

    def __init__(
        self,
        config: DomainRun,
        generator: Generator,
        pool: HeadPool,
        about: DomainDescription,
        out: Path,
    ) -> None:
        """Start from a change that is all but none; `out` is where the token set will go."""
        self.config = config
        self.out = out
        self.about = about
        self.pool = pool
        self.device = pick_device()
        torch.manual_seed(config.loop.seed)
        training = config.training
        self.generator = generator.to(self.device).eval().requires_grad_(False)
        self.change = TokenParameterisation(generator.table, training.rank, training.scale_init).to(
            self.device
        )
        self.average = copy.deepcopy(self.change).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"change": self.change, "average": self.average}
        self.optimizer = torch.optim.Adam(self.change.parameters(), training.lr, betas=(0.9, 0.99))
        self.optimizers: dict[str, torch.optim.Optimizer] = {"change": self.optimizer}

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update of the change and its average."""
        rate = learning_rate(step, self.config.loop.steps, self.config.training)
        set_rate(self.optimizer, rate)
        with autocast(self.device, self.config.training.precision):
            losses = self.losses(batch)
        losses["penalty"] = self.change.penalty()
        loss = sum(getattr(self.config.weights, name) * value for name, value in losses.items())
        minimise(self.optimizer, [loss])
        self._update_average(step)
        return numbers({"loss": loss, **losses})

    @abstractmethod
    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Unweighted losses by the names of their weights."""

    def adapt(self, heads: Heads, change: TokenParameterisation | None = None) -> Tensor:
        """The heads' pictures [N, 3, R, R] with the change applied, unclamped."""
        change = change or self.change
        tokens = add_domain(heads.tokens, change.packed(len(heads.w_plus)))
        return self.generator.synthesis(heads.w_plus, tokens, noise_mode="const")

    @torch.no_grad()
    def samples(self) -> np.ndarray:
        """Source heads above the same heads in the domain (averaged change), four pairs of rows."""
        index = torch.linspace(0, len(self.pool) - 1, 2 * SAMPLES).long()
        rows = []
        for row in index.to(self.device).split(SAMPLES):
            # No more at once than a step draws, so that a picture never needs more memory.
            parts = [self.pool.take(part) for part in row.split(self.config.loop.batch_size)]
            with autocast(self.device, self.config.training.precision):
                adapted = [to_pixels(self.adapt(part, self.average)) for part in parts]
            rows += [to_pixels(part.image) for part in parts] + adapted
        return grid(np.concatenate(rows), SAMPLES)

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the averaged change as a token set, fp16."""
        groups = self.average.groups()
        token_set = TokenSet(
            kind="domain",
            name=self.about.name,
            P=groups.P,
            Q=groups.Q,
            style_offset=groups.style_offset,
            modulation=groups.modulation,
            w_plus=None,
            source=self.about.source,
            licence=record["licence"],
            fingerprint=self.generator.fingerprint(),
            table_hash=self.generator.table.hash,
            dtype="F16",
        )
        write_token_set(self.out, token_set)
        return [self.out]

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        # The ramp lets the average forget its start quickly.
        keep = min(self.config.training.average, (1 + step) / (10 + step))
        for average, value in zip(self.average.parameters(), self.change.parameters(), strict=True):
            average.lerp_(value, 1 - keep)


class GuidedDomainTask(DomainTask):
    """Guided by two prompts, by unpaired reference pictures, or by both.

    Text guidance alone by a small CLIP is easily won by adversarial patterns; references anchor it.
    """

    def __init__(
        self,
        config: DomainRun,
        generator: Generator,
        pool: HeadPool,
        about: DomainDescription,
        out: Path,
        *,
        clip: ClipGuide | None,
        prompts: tuple[str, str] | None,
        arcface: ArcFace | None,
        has_references: bool,
    ) -> None:
        """Prepare the guides.

        Args:
            config: The run.
            generator: The generator to adapt.
            pool: Heads to train on.
            about: What is written beside the numbers.
            out: Target file.
            clip: The guide, or None.
            prompts: Source and target text; given when `clip` is.
            arcface: Network of the texture and identity losses, or None.
            has_references: Whether batches hold reference pictures as "image".
        """
        super().__init__(config, generator, pool, about, out)
        self.clip = _frozen(clip, self.device)
        self.arcface = _frozen(arcface, self.device)
        if self.clip is not None:
            with torch.no_grad():
                source, target = (self.clip.embed_text(fill_templates(p)) for p in prompts)
            self.direction = text_direction(source, target)
        # pictures and feature maps of the step under way, for the discriminator
        self._fake: tuple[Tensor, list[Tensor]] | None = None
        self._real: tuple[Tensor, list[Tensor]] | None = None
        self.discriminator = None
        if has_references and config.weights.adversarial:
            training = config.training
            maps = () if arcface is None else arcface.config.channels
            self.discriminator = DomainDiscriminator(training.discriminator_width, maps)
            self.discriminator.to(self.device, memory_format=torch.channels_last)
            self.modules["discriminator"] = self.discriminator
            self.optimizers["discriminator"] = torch.optim.Adam(
                self.discriminator.parameters(), training.discriminator_lr, betas=(0.0, 0.99)
            )

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update of the change, then one of the discriminator on the same pictures."""
        figures = super().step(step, batch)
        if self.discriminator is not None:
            figures |= self._discriminator_step(step)
        return figures

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every loss whose guide is there."""
        config = self.config
        heads = self.pool.draw(share(config.loop.batch_size))
        image = _place(self.adapt(heads).clamp(-1, 1))
        maps = [] if self.arcface is None else self.arcface.features(image)
        enough = config.training.structure_enough
        losses = {"structure": structure_loss(heads.image, image, enough=enough)}
        if self.clip is not None and config.weights.direction:
            losses["direction"] = self._direction_loss(heads.image, image)
        if "image" in batch:
            real = _place(batch["image"].to(self.device))
            losses |= self._reference_losses(image, maps, real)
        if self.arcface is not None and config.weights.identity:
            with torch.no_grad():
                person = self.arcface.embed(heads.image)
            losses["identity"] = embedding_distance(self.arcface.embed(image), person)
        return losses

    def _reference_losses(
        self, image: Tensor, maps: list[Tensor], real: Tensor
    ) -> dict[str, Tensor]:
        """What the references ask for; keeps the pictures for the discriminator's own step."""
        real_maps = []
        if self.arcface is not None:
            with torch.no_grad():
                real_maps = self.arcface.features(real)
        losses = {}
        if self.config.weights.texture:
            losses["texture"] = texture_distance(
                [neighbourhoods(image), *maps], [neighbourhoods(real), *real_maps]
            )
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
            view = self.config.training.discriminator_view
            losses["adversarial"] = generator_loss(self.discriminator(augment(image, view), maps))
            self._fake = (image.detach(), [x.detach() for x in maps])
            self._real = (real, real_maps)
        return losses

    def _direction_loss(self, source: Tensor, adapted: Tensor) -> Tensor:
        view = draw_view(len(source), self.config.training.guide_view, self.device)
        with torch.no_grad():
            before = self.clip.embed_image(apply_view(source, view))
        after = self.clip.embed_image(apply_view(adapted, view))
        return direction_loss(before, after, self.direction)

    def _discriminator_step(self, step: int) -> dict[str, float]:
        training = self.config.training
        is_penalised = step % training.r1_every == 0
        self.discriminator.requires_grad_(True)
        view = training.discriminator_view
        (real, real_maps), (fake, fake_maps) = self._real, self._fake
        with autocast(self.device, training.precision):
            real = augment(real, view).requires_grad_(is_penalised)
            logits = self.discriminator(real, real_maps)
            fake_logits = self.discriminator(augment(fake, view), fake_maps)
            loss = discriminator_loss(logits, fake_logits)
        figures = {"discriminator": loss.item()}
        if is_penalised:
            penalty = r1_penalty(logits, real)
            loss = loss + training.r1_gamma * training.r1_every * penalty
            figures["r1"] = penalty.item()
        minimise(self.optimizers["discriminator"], [loss])
        return figures


class PairedDomainTask(DomainTask):
    """Fitted to the true pictures of the pool's heads: the ceiling that guidance is measured by.

    A batch holds "image", the true pictures, and "index", the heads' places in the pool.
    """

    def __init__(
        self,
        config: DomainRun,
        generator: Generator,
        pool: HeadPool,
        about: DomainDescription,
        out: Path,
        *,
        arcface: ArcFace | None,
    ) -> None:
        """Without `arcface` the fit is by the absolute difference alone."""
        super().__init__(config, generator, pool, about, out)
        self.arcface = _frozen(arcface, self.device)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Distance to the truth."""
        adapted = _place(self.adapt(self.pool.take(batch["index"].to(self.device))))
        truth = _place(batch["image"].to(self.device))
        losses = {"l1": (adapted - truth).abs().mean()}
        if self.arcface is not None:
            losses["perceptual"] = perceptual_loss(self.arcface, adapted.clamp(-1, 1), truth)
        return losses


def learning_rate(step: int, steps: int, training: DomainTraining) -> float:
    """Constant, then a half cosine to zero over the last part of the steps."""
    start = training.decay_from * steps
    return scheduled_rate(step, peak=training.lr, steps=steps, decay_start=start)


def _frozen(module: nn.Module | None, device: torch.device) -> nn.Module | None:
    if module is None:
        return None
    return module.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def _place(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)
