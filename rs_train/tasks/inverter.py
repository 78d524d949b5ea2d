"""Training of the inverters: the base inverter alone, then the refiner of the two-stage model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import IncompatibleError
from rs_train.capture import CapturedStep, numbers
from rs_train.checkpoint import save_model
from rs_train.data import ImageFolder
from rs_train.devices import Precision, autocast, pick_device
from rs_train.generator import Generator, PackedTokens
from rs_train.grids import grid, to_pixels
from rs_train.inverters.pooling import pool_to
from rs_train.inverters.refine import Refiner, RefinerConfig
from rs_train.inverters.style_transformer import StyleTransformer, StyleTransformerConfig
from rs_train.inverters.trunk import Channels
from rs_train.loop import LoopConfig
from rs_train.losses.identity import identity_loss
from rs_train.losses.l2 import l2_loss
from rs_train.losses.perceptual import perceptual_loss
from rs_train.optimizers import adam, set_rate
from rs_train.perceptual.arcface import ArcFace
from rs_train.schedule import scheduled_rate

SAMPLES = 8
VALIDATION_BATCH = 32
STATISTICS_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Network:
    """Size of the network that is trained; what the generator settles is read from it.

    Attributes:
        image_size: Side of the photos and of the encoder's input; divides the generator's size.
        channels: Widths of the trunk's stages.
        heads: Attention heads.
        refined_layers: Two-stage: how many of the last convolutions are refined; 0 for all.
        rank: Two-stage: tokens a layer and side, L.
        token_scale_init: Two-stage: first value of A and B.
    """

    image_size: int = 256
    channels: Channels = (64, 128, 256, 512)
    heads: int = 4
    refined_layers: int = 0
    rank: int = 32
    token_scale_init: float = 0.01


@dataclass(frozen=True, kw_only=True)
class InverterTraining:
    """Recipe of an inverter.

    Attributes:
        optimizer: "ranger" as published, or "adam".
        lr: Learning rate.
        warmup: Steps of linear warm-up.
        decay_from: Share of the steps after which the rate follows a half cosine to zero; 1 never.
        clip_norm: Largest norm of the gradient; 0 leaves it alone.
        l2: Weight of the squared error.
        perceptual: Weight of the feature distance.
        identity: Weight of the identity distance.
        generated: Base inverter: samples of the generator, of known w, beside each batch of photos.
        latent: Base inverter: weight of the squared error of their w_plus.
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
    l2: float = 1.0
    perceptual: float = 0.8
    identity: float = 0.1
    generated: int = 0
    latent: float = 0.0
    train_mapping: bool = False
    precision: Precision = "bf16"
    validate_every: int = 0
    validate_count: int = 128


@dataclass(frozen=True, kw_only=True)
class InverterRun:
    """Everything an inverter training is configured by."""

    network: Network = Network()
    training: InverterTraining = InverterTraining()
    loop: LoopConfig


class InverterTask:
    """What both trainings share: losses, optimiser, schedule, validation, sample grids.

    A subclass sets `model` and defines `reconstruct` and `stages`. Loss: l2 · L2 + perceptual ·
    feature distance + identity · (1 − cosine), the recipe of pSp and StyleTransformer, with the
    features of the identity network in the place of LPIPS's.
    """

    model: nn.Module

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        model: nn.Module,
        out: Path,
        *,
        judge: ArcFace | None,
        validation: ImageFolder | None,
    ) -> None:
        """Prepare the training of `model`.

        Args:
            config: The run.
            generator: Whose latents are sought; frozen.
            model: What is trained.
            out: Target file.
            judge: Network of the perceptual and the identity loss; without one both are left out.
            validation: Held-out photos.
        """
        self.config = config
        self.out = out
        self.device = pick_device()
        layout = torch.channels_last
        self.generator = _frozen(generator).to(self.device, memory_format=layout)
        self.judge = judge and _frozen(judge).to(self.device, memory_format=layout)
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
        self.parameters = parameters
        self.optimizers = {"model": optimizer}
        # Ranger's look-ahead counts its steps in Python.
        is_capturable = training.optimizer == "adam"
        self._captured = CapturedStep(self._update, self.device, enabled=is_capturable)

    def stages(self, photo: Tensor) -> list[Tensor]:
        """Every reconstruction [N, 3, S, S] of photos [N, 3, S, S], the first inversion first."""
        raise NotImplementedError

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Unweighted losses of a batch of photos, by the names of their weights."""
        raise NotImplementedError

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
        optimizer = self.optimizers["model"]
        with autocast(self.device, training.precision):
            losses = self.losses(photo)
            loss = sum(getattr(training, name) * value for name, value in losses.items())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if training.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, training.clip_norm)
        optimizer.step()
        return {"loss": loss, **losses}

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
        """Losses between a reconstruction and its photo, both [N, 3, S, S]."""
        losses = {"l2": l2_loss(image, photo)}
        if self.judge is not None:
            if self.config.training.perceptual:
                losses["perceptual"] = perceptual_loss(self.judge, image, photo)
            if self.config.training.identity:
                losses["identity"] = identity_loss(self.judge, image, photo)
        return losses

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


class StyleTransformerTask(InverterTask):
    """Trains the base inverter against a frozen synthesis network.

    Optionally with samples of the generator beside the photos: their w is known, and regressing it
    settles pose and identity in a fraction of the steps that images alone need. The published
    recipe does without; short trainings do not.
    """

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        out: Path,
        *,
        judge: ArcFace | None = None,
        validation: ImageFolder | None = None,
        init: StyleTransformer | None = None,
    ) -> None:
        """Build the inverter from the loop's seed, or go on with `init`."""
        torch.manual_seed(config.loop.seed)
        model = init or _new_base(config.network, generator)
        super().__init__(config, generator, model, out, judge=judge, validation=validation)
        parameters = list(model.parameters())
        if config.training.train_mapping:
            self.modules["mapping"] = self.generator.mapping_network.requires_grad_(True)
            parameters += list(self.generator.mapping_network.parameters())
        self._optimize(parameters)

    def stages(self, photo: Tensor) -> list[Tensor]:
        """The first inversion alone."""
        w_plus = self.model(photo, self._query())
        return [pool_to(self.synthesize(w_plus), self.config.network.image_size)]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses on the photos; on samples of the generator the squared error of w_plus."""
        count = self.config.training.generated
        sample, w_true = self._generate(count) if count else (photo[:0], None)
        w_plus = self.model(torch.cat([photo, sample]), self._query()).float()
        image = pool_to(self.synthesize(w_plus[: len(photo)]), self.config.network.image_size)
        losses = self.image_losses(image, photo)
        if w_true is not None:
            losses["latent"] = l2_loss(w_plus[len(photo) :], w_true)
        return losses

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the base inverter with its query baked in."""
        self.model.bake(self.generator.mapping)
        return super().finish(run_dir, record)

    def _query(self) -> Tensor:
        # In fp32, as the baked query will be.
        with torch.autocast(self.device.type, enabled=False):
            return self.model.map_query(self.generator.mapping)

    @torch.no_grad()
    def _generate(self, count: int) -> tuple[Tensor, Tensor]:
        """Images [count, 3, S, S] of random heads and their w_plus."""
        z = torch.randn(count, self.generator.config.z_dim, device=self.device)
        w_plus = self.generator.broadcast(self.generator.mapping(z).float())
        image = pool_to(self.synthesize(w_plus), self.config.network.image_size)
        return self._place(image.clamp(-1, 1)), w_plus


class TwoStageTask(InverterTask):
    """Trains the refiner on what a frozen base inverter and a frozen generator leave undone."""

    def __init__(
        self,
        config: InverterRun,
        generator: Generator,
        base: StyleTransformer,
        out: Path,
        *,
        judge: ArcFace | None = None,
        validation: ImageFolder | None = None,
        init: Refiner | None = None,
    ) -> None:
        """Start the refiner from the base inverter where widths agree, or go on with `init`."""
        torch.manual_seed(config.loop.seed)
        _refuse_other_generator(base, generator)
        model = init or _new_refiner(config.network, generator, base)
        super().__init__(config, generator, model, out, judge=judge, validation=validation)
        self.base = _frozen(base).to(self.device, memory_format=torch.channels_last)
        self._optimize(list(model.parameters()))

    def stages(self, photo: Tensor) -> list[Tensor]:
        """First inversion and refined image."""
        w_plus, first = self._invert(photo)
        size = self.config.network.image_size
        return [pool_to(first, size), pool_to(self._refine(photo, w_plus, first), size)]

    def losses(self, photo: Tensor) -> dict[str, Tensor]:
        """Image losses of the refined image."""
        w_plus, first = self._invert(photo)
        image = pool_to(self._refine(photo, w_plus, first), self.config.network.image_size)
        return self.image_losses(image, photo)

    @torch.no_grad()
    def _invert(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        w_plus = self.base(pool_to(photo, self.base.config.image_size))
        return w_plus, self.synthesize(w_plus)

    def _refine(self, photo: Tensor, w_plus: Tensor, first: Tensor) -> Tensor:
        residual = self.model(photo, first)
        return self.synthesize(w_plus, PackedTokens(P=residual.P.float(), Q=residual.Q.float()))


def learning_rate(step: int, steps: int, training: InverterTraining) -> float:
    """Linear warm-up, a plateau, and from `decay_from` of the way a half cosine to zero."""
    start = training.decay_from * steps
    peak, warmup = training.lr, training.warmup
    return scheduled_rate(step, peak=peak, steps=steps, warmup=warmup, decay_start=start)


def _frozen(model: nn.Module) -> Any:
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _new_base(network: Network, generator: Generator) -> StyleTransformer:
    model = StyleTransformer(
        StyleTransformerConfig(
            image_size=network.image_size,
            num_ws=generator.num_ws,
            z_dim=generator.config.z_dim,
            w_dim=generator.config.w_dim,
            channels=network.channels,
            heads=network.heads,
        )
    )
    rng = torch.Generator().manual_seed(STATISTICS_SEED)
    w = generator.mapping(torch.randn(4096, generator.config.z_dim, generator=rng))
    model.start_from(generator.latent_avg, w.std(0))
    return model


def _new_refiner(network: Network, generator: Generator, base: StyleTransformer) -> Refiner:
    channels = tuple((conv.in_channels, conv.out_channels) for conv in generator.table.convs)
    model = Refiner(
        RefinerConfig(
            image_size=network.image_size,
            conv_channels=channels,
            refined_layers=network.refined_layers or len(channels),
            rank=network.rank,
            channels=network.channels,
            heads=network.heads,
            token_scale_init=network.token_scale_init,
        )
    )
    if base.config.channels == network.channels:
        model.start_from(base)
    return model


def _refuse_other_generator(base: StyleTransformer, generator: Generator) -> None:
    found = (base.config.num_ws, base.config.w_dim)
    expected = (generator.num_ws, generator.config.w_dim)
    if found != expected:
        raise IncompatibleError(
            "the base inverter belongs to another generator",
            found=f"w_plus {found[0]}×{found[1]}",
            expected=f"{expected[0]}×{expected[1]}",
            hint="train one: rs-train inverter --model style_transformer --generator FILE …",
        )
