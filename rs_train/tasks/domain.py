"""Adapting a generator to a domain by optimising a change of it, with everything else frozen."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError
from rs_train.capture import numbers
from rs_train.devices import autocast, pick_device
from rs_train.domains.affine_plus import AffinePlusParameterisation
from rs_train.domains.channels import ModulationParameterisation, StyleSpaceParameterisation
from rs_train.domains.description import DomainDescription
from rs_train.domains.full import FullParameterisation
from rs_train.domains.parameterisation import Parameterisation
from rs_train.domains.pool import HeadPool, Heads
from rs_train.domains.tokens import TokenParameterisation
from rs_train.generator import Generator
from rs_train.grids import grid, to_pixels
from rs_train.optimizers import minimise, set_rate
from rs_train.processes import share
from rs_train.schedule import scheduled_rate
from rs_train.tasks.domain_config import DomainRun, DomainTraining

SAMPLES = 8
FAMILIES: dict[str, type[Parameterisation]] = {
    "tokens": TokenParameterisation,
    "style_space": StyleSpaceParameterisation,
    "domain_modulation": ModulationParameterisation,
    "affine_plus": AffinePlusParameterisation,
    "full": FullParameterisation,
}


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
