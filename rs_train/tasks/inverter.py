"""What the trainings of all inverters share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rs_train.capture import CapturedStep, numbers
from rs_train.checkpoint import save_model
from rs_train.config import NotNegative, Positive
from rs_train.data import ImageFolder
from rs_train.devices import Precision, autocast, pick_device
from rs_train.generator import Generator, PackedTokens
from rs_train.grids import grid, to_pixels
from rs_train.inverters.build import Network
from rs_train.inverters.pooling import middle_rows, pool_to
from rs_train.loop import LoopConfig
from rs_train.optimizers import adam, minimise, set_rate
from rs_train.perceptual.ir_se50 import read_trunk
from rs_train.schedule import scheduled_rate
from rs_train.tasks.image_losses import LossNetworks, image_losses

SAMPLES = 8
VALIDATION_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class InverterTraining:
    """Recipe of an inverter.

    Attributes:
        optimizer: "ranger" as published, or "adam".
        lr: Learning rate.
        warmup: Steps of linear warm-up.
        decay_from: Share of the steps after which the rate follows a half cosine to zero; 1 never.
        clip_norm: Largest norm of the gradient; 0 leaves it alone.
        accumulate: Parts that a process computes its share of a batch in, to save memory.
        l2: Weight of the squared error.
        perceptual: Weight of LPIPS, or of the feature distance that stands in for it.
        scales: Sizes that LPIPS compares at, each half of the one before.
        identity: Weight of the identity distance.
        identity_layers: It is taken layer by layer through the face network, and added up.
        moco: Weight of the distance of MoCo's embeddings.
        generated: Base inverter: samples of the generator, of known w, beside each batch of photos.
        latent: Base inverter: weight of the squared error of their w_plus.
        delta: e4e: weight of the length of the differences between rows.
        editability: e4e: weight of the latent discriminator's loss.
        diversity: One- and two-stage: weight of how alike a layer's tokens are.
        alignment: HFGI: weight of the absolute error of the aligned distortion map.
        feature: Feature-Style-Encoder: weight of the squared error of its feature to the
            generator's own.
        styles: Feature-Style-Encoder: weight of the image losses of what its styles alone give.
        ramp: Feature-Style-Encoder: steps in which its feature replaces the generator's own.
        l2_on_photos: Feature-Style-Encoder: the squared error counts photos, not only samples.
        domain: FeatureShift: weight of the image losses in the domains, together.
        strength: FeatureShift: least strength of a domain, drawn evenly up to 1.
        train_mapping: Base inverter: let the mapping that makes the queries learn as well.
        precision: "bf16" for autocast, or "fp32".
        validate_every: Steps between measurements on the validation photos; 0 for none.
        validate_count: Photos of one measurement.
    """

    optimizer: Literal["ranger", "adam"] = "ranger"
    lr: float = 1e-4
    warmup: int = 0
    decay_from: float = 1.0
    clip_norm: float = 0.0
    accumulate: Positive = 1
    l2: float = 1.0
    perceptual: float = 0.8
    scales: Positive = 1
    identity: float = 0.1
    identity_layers: bool = False
    moco: float = 0.0
    generated: int = 0
    latent: float = 0.0
    delta: float = 0.0
    editability: float = 0.0
    diversity: float = 0.0
    alignment: float = 0.0
    feature: float = 0.0
    styles: float = 0.0
    ramp: NotNegative = 0
    l2_on_photos: bool = True
    domain: float = 0.0
    strength: float = 1.0
    train_mapping: bool = False
    precision: Precision = "bf16"
    validate_every: int = 0
    validate_count: int = 128


@dataclass(frozen=True, kw_only=True)
class InverterRun:
    """Everything an inverter training is configured by."""

    network: Network = field(default_factory=Network)
    training: InverterTraining = InverterTraining()
    loop: LoopConfig


class InverterTask(ABC):
    """What both trainings share: losses, optimiser, schedule, validation, sample grids.

    A subclass defines `stages` and `losses`. Image losses: l2 · L2 + perceptual · LPIPS +
    identity · (1 − cosine) + moco · (1 − cosine), the recipe of pSp and its successors.
    """

    model_name: ClassVar[str]  # key of rs_train.inverters.build.BUILDERS
    read_trunk = staticmethod(read_trunk)  # of the file that `--weights trunk` names
    is_captured: ClassVar[bool] = True  # whether a step is the same work every time

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        model: nn.Module,
        out: Path,
        *,
        networks: LossNetworks | None,
        validation: ImageFolder | None,
    ) -> None:
        """Prepare the training of `model`.

        Args:
            config: The run.
            generator: Whose latents are sought; frozen.
            model: What is trained.
            out: Target file.
            networks: What the losses look through; without any the image alone counts.
            validation: Held-out photos.
        """
        self.config = config
        self.out = out
        self.device = pick_device()
        layout = torch.channels_last
        self.generator = frozen(generator).to(self.device, memory_format=layout)
        self.networks = networks or LossNetworks()
        for network in self.networks.modules():
            frozen(network).to(self.device, memory_format=layout)
        self.model = model.to(self.device, memory_format=layout).train().requires_grad_(True)
        self.modules: dict[str, nn.Module] = {"model": self.model}
        self.validation = validation

    def _optimize(self, parameters: list[nn.Parameter]) -> None:
        training = self.config.training
        if training.optimizer == "ranger":
            from pytorch_optimizer import Ranger  # takes seconds to import

            optimizer = Ranger(parameters, training.lr, (0.95, 0.999), k=6, alpha=0.5, eps=1e-5)
        else:
            optimizer = adam(parameters, training.lr, (0.9, 0.99))
        self.optimizers = {"model": optimizer}
        # Ranger's look-ahead counts its steps in Python.
        is_capturable = self.is_captured and training.optimizer == "adam"
        self._captured = CapturedStep(self._update, self.device, enabled=is_capturable)

    @abstractmethod
    def stages(self, photo: Tensor) -> list[Tensor]:
        """Every reconstruction [N, 3, S, S] of photos [N, 3, S, S], the first inversion first."""

    @abstractmethod
    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Unweighted losses of a batch of photos, by the names of their weights."""

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update on one batch of photos."""
        training = self.config.training
        set_rate(self.optimizers["model"], learning_rate(step, self.config.loop.steps, training))
        self.model.train()
        figures = numbers(self._captured(photo=self._place(batch["image"])))
        if training.validate_every and (step + 1) % training.validate_every == 0:
            figures |= self.validate()
        return figures

    def _update(self, *, photo: Tensor) -> dict[str, Tensor]:
        training = self.config.training
        parts = photo.chunk(training.accumulate)
        figures: list[dict[str, Tensor]] = []

        def loss_of(part: Tensor) -> Tensor:
            with autocast(self.device, training.precision):
                losses = self.losses(part)
                loss = sum(getattr(training, name) * value for name, value in losses.items())
            figures.append({"loss": loss.detach(), **{n: v.detach() for n, v in losses.items()}})
            return loss / len(parts)

        minimise(self.optimizers["model"], map(loss_of, parts), clip_norm=training.clip_norm)
        return {name: sum(part[name] for part in figures) / len(parts) for name in figures[0]}

    def validate(self) -> dict[str, float]:
        """Mean squared error of each stage on the validation photos, on the [-1, 1] scale."""
        if self.validation is None:
            return {}
        count = min(self.config.training.validate_count, len(self.validation))
        sums = None
        for start in range(0, count, VALIDATION_BATCH):
            indices = range(start, min(start + VALIDATION_BATCH, count))
            photo = self._place(self.validation.images(indices))
            errors = torch.stack(
                [(image - photo).square().mean((1, 2, 3)).sum() for image in self._show(photo)]
            )
            sums = errors if sums is None else sums + errors
        names = ("validation_base", "validation_refined")
        return {n: v / count for n, v in zip(names, sums.tolist(), strict=False)}

    def samples(self) -> np.ndarray | None:
        """Two columns of rows: photo, first inversion and, when it is trained, second stage."""
        if self.validation is None:
            return None
        count = min(SAMPLES, len(self.validation))
        photo = self._place(self.validation.images(range(count)))
        pictures = [photo, *self._show(photo)]
        pixels = np.stack([to_pixels(images) for images in pictures], axis=1)
        columns = len(pictures) * (2 if count % 2 == 0 else 1)
        return grid(pixels.reshape(-1, *pixels.shape[2:]), columns)

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the model, fp16, with the name of the generator that it belongs to."""
        record = record | {"generator_fingerprint": self.generator.fingerprint()}
        save_model(self.out, self.model.eval(), record, dtype=torch.float16)
        return [self.out]

    def image_losses(self, image: Tensor, photo: Tensor) -> dict[str, Tensor]:
        """Losses between a reconstruction and its photo, both [N, 3, S, S], on what is read."""
        image, photo = (middle_rows(x, self.config.network.image_height) for x in (image, photo))
        return image_losses(self.networks, self.config.training, image, photo)

    def summed_losses(self, images: Iterable[Tensor], photo: Tensor) -> dict[str, Tensor]:
        """Image losses of several reconstructions [N, 3, R, R] of the same photos, added up."""
        total: dict[str, Tensor] = {}
        for image in images:
            for name, value in self.image_losses(self.pooled(image), photo).items():
                total[name] = total[name] + value if name in total else value
        return total

    def pooled(self, image: Tensor) -> Tensor:
        """A synthesised image [N, 3, R, R] at the size of the photos, [N, 3, S, S]."""
        return pool_to(image, self.config.network.image_size)

    def synthesize(self, w_plus: Tensor, tokens: PackedTokens | None = None) -> Tensor:
        """The generator's image, [N, 3, R, R] float, with its constant noise."""
        return self.generator.synthesis(w_plus.float(), tokens, noise_mode="const")

    @torch.no_grad()
    def _show(self, photo: Tensor) -> list[Tensor]:
        self.model.eval()
        with autocast(self.device, self.config.training.precision):
            return [image.float().clamp(-1, 1) for image in self.stages(photo)]

    def _place(self, image: Tensor) -> Tensor:
        return image.to(self.device, memory_format=torch.channels_last)


def learning_rate(step: int, steps: int, training: InverterTraining) -> float:
    """Linear warm-up, a plateau, and from `decay_from` of the way a half cosine to zero."""
    start = training.decay_from * steps
    peak, warmup = training.lr, training.warmup
    return scheduled_rate(step, peak=peak, steps=steps, warmup=warmup, decay_start=start)


def frozen(model: nn.Module) -> Any:
    """The model in eval mode, without gradients."""
    return model.eval().requires_grad_(False)
