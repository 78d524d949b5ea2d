"""Adapting a generator to a domain by optimising a change of it, with everything else frozen."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError
from rs_train.capture import numbers
from rs_train.devices import Precision, autocast, pick_device
from rs_train.domains.affine_plus import AffinePlusParameterisation
from rs_train.domains.channels import ModulationParameterisation, StyleSpaceParameterisation
from rs_train.domains.description import DomainDescription
from rs_train.domains.full import FullParameterisation
from rs_train.domains.parameterisation import Parameterisation
from rs_train.domains.pool import HeadPool, Heads, PoolConfig
from rs_train.domains.tokens import TokenParameterisation
from rs_train.generator import Generator
from rs_train.grids import grid, to_pixels
from rs_train.loop import LoopConfig
from rs_train.optimizers import minimise, set_rate
from rs_train.perceptual.augment import Augmentation
from rs_train.processes import share
from rs_train.schedule import scheduled_rate

SAMPLES = 8
FAMILIES: dict[str, type[Parameterisation]] = {
    "tokens": TokenParameterisation,
    "style_space": StyleSpaceParameterisation,
    "domain_modulation": ModulationParameterisation,
    "affine_plus": AffinePlusParameterisation,
    "full": FullParameterisation,
}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the losses; a loss whose network or pictures are missing is left out.

    Attributes:
        direction: CLIP's direction loss between the prompts.
        in_domain_angle: Change of the angles between the heads' CLIP embeddings; with a prompt.
        adversarial: Non-saturating loss of the patch discriminator against the references.
        texture: Sliced Wasserstein distance of coarse colours and of ArcFace's features to the
            references'.
        structure: Lack of correlation of local contrast with the source head; not of pairs.
        identity: 1 - cosine of ArcFace's embedding with the source head's.
        penalty: Size of the change.
        l1: Paired: absolute difference to the true picture.
        l2: One-shot: squared error of the adapted inversion to the reference.
        perceptual: Paired, one-shot: feature distance (LPIPS) to the same picture.
        style: One-shot: sliced Wasserstein distance of deep features to the adapted inversion's.
        laplacian: One-shot: difference of the changes of heads that are neighbours, in CLIP.
    """

    direction: float = 0.5
    in_domain_angle: float = 0.0
    adversarial: float = 0.3
    texture: float = 1.0
    structure: float = 3.0
    identity: float = 0.3
    penalty: float = 0.02
    l1: float = 1.0
    l2: float = 1.0
    perceptual: float = 0.5
    style: float = 1.0
    laplacian: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DomainTraining:
    """Recipe of a domain.

    Attributes:
        parameterisation: What changes: "tokens"; "style_space" for offsets of the styles;
            "domain_modulation" for factors on the layers' inputs; of a copy of the synthesis
            network, "affine_plus" for its affine layers and one block, or "full".
        rank: Tokens: rows of P and Q a layer, L.
        scale_init: Tokens: first value of A and B.
        torgb: Full, style space: whether the toRGB layers learn as well.
        first_layer: Style space, domain modulation: layers that read an earlier row of w_plus are
            held as they are.
        offset_block: Affine plus: resolution of the block whose kernels have offsets.
        lr: Adam's learning rate of the change.
        lr_end: The rate at the end of its decay.
        betas: Adam's.
        decay_from: Share of the steps after which the rate follows a half cosine to `lr_end`.
        average: Decay of the exponential average that is written.
        structure_enough: Correlation of local contrast from which on structure asks for no more.
        discriminator_width: Channels of the discriminator's first layer.
        discriminator_lr: Adam's learning rate of the discriminator.
        r1_gamma: Weight of the R1 penalty.
        r1_every: Steps between penalties (lazy regularisation).
        guide_view: Random views in front of CLIP, the same for both pictures of a pair.
        discriminator_view: Random views of the discriminator's inputs.
        coarse_rows: One-shot: rows of w_plus that a head keeps; the finer ones are the reference's.
        mixed_share: One-shot: share of the heads of a batch that take them.
        start_from_reference: One-shot: begin with the reference's inverted tokens.
        precision: "bf16" for autocast, or "fp32".
    """

    parameterisation: Literal[
        "tokens", "style_space", "domain_modulation", "affine_plus", "full"
    ] = "tokens"
    rank: int = 8
    scale_init: float = 0.01
    torgb: bool = False
    first_layer: int = 0
    offset_block: int = 64
    lr: float = 0.01
    lr_end: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    decay_from: float = 0.6
    average: float = 0.99
    structure_enough: float = 0.7
    discriminator_width: int = 32
    discriminator_lr: float = 0.002
    r1_gamma: float = 1.0
    r1_every: int = 8
    guide_view: Augmentation = field(default_factory=Augmentation)
    discriminator_view: Augmentation = field(default_factory=Augmentation)
    coarse_rows: int = 8
    mixed_share: float = 1.0
    start_from_reference: bool = False
    precision: Precision = "bf16"


@dataclass(frozen=True, kw_only=True)
class DomainRun:
    """Everything a domain training is configured by."""

    training: DomainTraining = field(default_factory=DomainTraining)
    weights: Weights = field(default_factory=Weights)
    pool: PoolConfig = field(default_factory=PoolConfig)
    loop: LoopConfig


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What every way to a domain begins with.

    Attributes:
        config: The run.
        generator: The generator to adapt.
        pool: Heads to train on.
        about: What is written beside the numbers.
        out: Where the result goes.
    """

    config: DomainRun
    generator: Generator
    pool: HeadPool
    about: DomainDescription
    out: Path


class DomainTask(ABC):
    """What all ways to a domain share: the change, its average, schedule, samples, writing.

    A subclass computes `losses`. The generator stays as it is.
    """

    def __init__(self, subject: Subject) -> None:
        """Start from a change that is all but none.

        Raises:
            UsageError: Losses on pairs of heads, and a batch without pairs.
        """
        self.config = subject.config
        _refuse_single_heads(self.config)
        self.subject = subject
        self.pool = subject.pool
        self.device = pick_device()
        torch.manual_seed(self.config.loop.seed)
        training = self.config.training
        self.generator = subject.generator.to(self.device).eval().requires_grad_(False)
        self.change = new_change(self.generator, training).to(self.device)
        self.average = copy.deepcopy(self.change).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"change": self.change, "average": self.average}
        learning = [p for p in self.change.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(learning, training.lr, betas=training.betas)
        self.optimizers: dict[str, torch.optim.Optimizer] = {"change": self.optimizer}

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update of the change and its average."""
        rate = learning_rate(step, self.config.loop.steps, self.config.training)
        set_rate(self.optimizer, rate)
        with autocast(self.device, self.config.training.precision):
            losses = self.losses(batch)
        losses["penalty"] = self.change.penalty(self.generator.synthesis)
        loss = sum(getattr(self.config.weights, name) * value for name, value in losses.items())
        minimise(self.optimizer, [loss])
        self._update_average(step)
        return numbers({"loss": loss, **losses})

    @abstractmethod
    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Unweighted losses by the names of their weights."""

    def adapt(self, heads: Heads, change: Parameterisation | None = None) -> Tensor:
        """The heads' pictures [N, 3, R, R] with the change applied, unclamped."""
        change = change or self.change
        return change.synthesize(self.generator.synthesis, heads.w_plus, heads.tokens)

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
        """Write the averaged change."""
        self.average.write(self.subject.out, self.generator, self.subject.about, record)
        return [self.subject.out]

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        # The ramp lets the average forget its start quickly.
        keep = min(self.config.training.average, (1 + step) / (10 + step))
        for average, value in zip(self.average.parameters(), self.change.parameters(), strict=True):
            average.lerp_(value, 1 - keep)


def new_change(generator: Generator, training: DomainTraining) -> Parameterisation:
    """A change of the configured family that is all but none.

    Raises:
        UsageError: `offset_block` is none of the generator's.
    """
    table, torgb, first_layer = generator.table, training.torgb, training.first_layer
    match training.parameterisation:
        case "style_space":
            return StyleSpaceParameterisation(table, torgb=torgb, first_layer=first_layer)
        case "domain_modulation":
            return ModulationParameterisation(table, first_layer=first_layer)
        case "affine_plus":
            return AffinePlusParameterisation(generator.synthesis, block=training.offset_block)
        case "full":
            return FullParameterisation(generator.synthesis, torgb=torgb)
    return TokenParameterisation(table, training.rank, training.scale_init)


def learning_rate(step: int, steps: int, training: DomainTraining) -> float:
    """Constant, then a half cosine to its end over the last part of the steps."""
    fall = training.lr - training.lr_end
    start = training.decay_from * steps
    return training.lr_end + scheduled_rate(step, peak=fall, steps=steps, decay_start=start)


def _refuse_single_heads(config: DomainRun) -> None:
    heads = share(config.loop.batch_size)
    if heads < 2 and (config.weights.in_domain_angle or config.weights.laplacian):
        raise UsageError(
            "in_domain_angle and laplacian compare the heads of a batch",
            found=f"{heads} head a process",
            expected="2 or more: set loop.batch_size, or the weights to 0",
        )


def placed(module: nn.Module, device: torch.device) -> Any:
    """A network that only looks on: frozen, on the device, in the layout of `placed_image`."""
    return module.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def placed_image(image: Tensor) -> Tensor:
    """Pictures [N, 3, H, W] in the memory layout of the networks that look at them."""
    return image.contiguous(memory_format=torch.channels_last)
