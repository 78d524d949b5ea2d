"""Training one hypernetwork for many domains at once."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError
from rs_runtime.contracts.layers import LayerTable
from rs_train.capture import numbers
from rs_train.checkpoint import save_model
from rs_train.devices import autocast, pick_device
from rs_train.domains.embeddings import draw_mixtures, embed_domains, mixed, resampled
from rs_train.domains.hypernetwork import (
    HyperDomainNet,
    HyperDomainNetConfig,
    clip_fingerprint,
)
from rs_train.domains.parameterisation import add_domain
from rs_train.domains.pictures import DomainPictures
from rs_train.domains.pool import HeadPool, Heads
from rs_train.domains.tokens import residual_size
from rs_train.generator import Generator, PackedTokens
from rs_train.grids import grid, to_pixels
from rs_train.losses.direction import direction_loss
from rs_train.losses.domain_norm import domain_norm_loss
from rs_train.losses.in_domain_angle import in_domain_angle_loss
from rs_train.losses.perceptual import perceptual_loss
from rs_train.losses.target_direction import target_direction_loss
from rs_train.optimizers import minimise, set_rate
from rs_train.perceptual.arcface import ArcFace
from rs_train.perceptual.augment import apply_view, draw_view
from rs_train.perceptual.clip import ClipGuide
from rs_train.processes import share
from rs_train.schedule import scheduled_rate
from rs_train.tasks.domain import placed, placed_image
from rs_train.tasks.hypernetwork_config import HypernetworkRun, HypernetworkSize

SAMPLES = 8


class _Lesson(NamedTuple):
    """Heads of a batch and the domain that each is to be drawn in; those of pictures come first."""

    heads: Heads
    embedding: Tensor  # what the network reads [N, D]
    target: Tensor  # the domains in CLIP's templates [N, T, D]
    truth: Tensor | None  # [M, 3, R, R] in [-1, 1], of the first M heads


class HypernetworkTask:
    """Each head of a batch is drawn in a domain of its own, through packed tokens.

    A batch holds "domain" [B], "scene" [B, heads] and "image" [B, heads, 3, R, R], the true
    pictures of those of the pool's heads; without pictures, heads and domains are drawn at random.
    """

    def __init__(
        self,
        config: HypernetworkRun,
        *,
        generator: Generator,
        pool: HeadPool,
        clip: ClipGuide,
        arcface: ArcFace | None,
        pictures: DomainPictures | None,
        out: Path,
    ) -> None:
        """Start from a network that changes all but nothing.

        Args:
            config: The run.
            generator: Stays as it is.
            pool: Heads to train on; the pictures' scenes are its first portraits.
            clip: Reads texts and pictures, and guides.
            arcface: Network of the feature losses, or None.
            pictures: The domains' pictures, or None for texts alone.
            out: Where the trained network goes.

        Raises:
            UsageError: In-domain angles, and one head of a domain; another length of embeddings.
        """
        _refuse_single_heads(config)
        self.config = config
        self.device = pick_device()
        torch.manual_seed(config.loop.seed)
        self.generator = generator.to(self.device).eval().requires_grad_(False)
        # Each head has kernels of its own; on a CPU this form computes them in two thirds the time.
        self.generator.synthesis.form = "materialised"
        self.pool, self.out = pool, out
        self.clip = placed(clip, self.device)
        self.arcface = arcface and placed(arcface, self.device)
        self.embeddings = embed_domains(
            self.clip, config.domains, config.source, pictures, self.device
        )
        _refuse_other_length(config, self.embeddings.source.shape[-1])
        self.network = new_network(
            config.network,
            generator.table,
            clip=clip_fingerprint(clip),
            generator=generator.fingerprint(),
        ).to(self.device)
        self.modules: dict[str, nn.Module] = {"network": self.network}
        training = config.training
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), training.lr, betas=training.betas
        )
        self.optimizers: dict[str, torch.optim.Optimizer] = {"network": self.optimizer}

    def step(self, step: int, batch: dict[str, Tensor]) -> dict[str, float]:
        """One update of the network."""
        training, steps = self.config.training, self.config.loop.steps
        start = training.decay_from * steps
        set_rate(
            self.optimizer,
            scheduled_rate(step, peak=training.lr, steps=steps, decay_start=start),
        )
        self.network.train()
        with autocast(self.device, training.precision):
            losses = self._losses(self._lesson(batch))
        loss = sum(getattr(self.config.weights, name) * value for name, value in losses.items())
        minimise(self.optimizer, [loss])
        return numbers({"loss": loss, **losses})

    def _lesson(self, batch: dict[str, Tensor]) -> _Lesson:
        """The batch's scenes in its domains, if it has pictures, then heads in mixtures of these.

        By text alone mixtures take the place of the domains themselves, as published.
        """
        training, known = self.config.training, self.embeddings
        domain = batch.get("domain")
        if domain is None:
            domain = torch.randint(len(known.texts), (share(self.config.loop.batch_size),))
        domain = domain.repeat_interleave(training.heads)
        embedding, target = known.draw(domain, training.picture_share), known.targets[domain]
        mixture = self._mixture(embedding, target) if training.mixtures else None
        if "image" not in batch:
            return mixture or _Lesson(self.pool.draw(len(domain)), embedding, target, None)
        first = len(self.pool.random)  # of the portraits
        heads = self.pool.take(first + batch["scene"].flatten().to(self.device))
        truth = placed_image(batch["image"].flatten(0, 1).to(self.device))
        lesson = _Lesson(heads, embedding, target, truth)
        return _joined(lesson, mixture) if mixture else lesson

    def _mixture(self, embedding: Tensor, target: Tensor) -> _Lesson:
        """Random heads in domains between those of embeddings [N, D] and targets [N, T, D]."""
        training = self.config.training
        weights = draw_mixtures(training.mixtures, len(embedding)).to(self.device)
        near = resampled(mixed(target, weights), training.least_cosine)
        embedding, target = (
            x.repeat_interleave(training.heads, dim=0) for x in (mixed(embedding, weights), near)
        )
        return _Lesson(self.pool.draw(len(embedding)), embedding, target, None)

    def _losses(self, lesson: _Lesson) -> dict[str, Tensor]:
        weights = self.config.weights
        with torch.autocast(self.device.type, enabled=False):
            change = self._changes(lesson.embedding)
            losses = {"size": self._size(change)}
        heads = lesson.heads
        drawn = self.generator.synthesis(heads.w_plus, add_domain(heads.tokens, change))
        image = placed_image(drawn.clamp(-1, 1))
        if weights.direction or weights.in_domain_angle or weights.target_direction:
            losses |= self._guidance(heads.image, image, lesson.target)
        if lesson.truth is not None:
            known = len(lesson.truth)
            losses |= self._likeness(drawn[:known], image[:known], lesson.truth)
        return losses

    def _changes(self, embedding: Tensor) -> PackedTokens:
        """Domains [N] of embeddings [N, D].

        Each known domain goes along, so that batch normalisation sees all of them: statistics of
        the few in a batch are mostly noise, and the network learns several times more slowly.
        """
        every = torch.arange(len(self.embeddings.texts))
        along = self.embeddings.draw(every, self.config.training.picture_share)
        said = self.network(torch.cat([embedding, along]))
        return PackedTokens(*(None if x is None else x[: len(embedding)] for x in said))

    def _size(self, change: PackedTokens) -> Tensor:
        table = self.generator.table
        if change.modulation is not None:
            return domain_norm_loss(change.modulation, table)
        return residual_size(change.P, change.Q, table).mean()

    def _guidance(self, before: Tensor, after: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What CLIP says; heads of one domain lie side by side."""
        view = draw_view(len(before), self.config.training.view, before.device)
        with torch.no_grad():
            source = self.clip.embed_image(apply_view(before, view))
        found = self.clip.embed_image(apply_view(after, view))
        texts = target.mean(dim=1)
        losses = {
            "direction": direction_loss(source, found, texts - self.embeddings.source.mean(dim=0)),
            "target_direction": target_direction_loss(found, texts),
        }
        if self.config.training.heads > 1:
            of_domain = self.config.training.heads
            angles = [
                in_domain_angle_loss(a, b)
                for a, b in zip(source.split(of_domain), found.split(of_domain), strict=True)
            ]
            losses["in_domain_angle"] = torch.stack(angles).mean()
        return losses

    def _likeness(self, drawn: Tensor, image: Tensor, truth: Tensor) -> dict[str, Tensor]:
        losses = {"l1": (drawn - truth).abs().mean()}
        if self.arcface is not None:
            losses["perceptual"] = perceptual_loss(self.arcface, image, truth)
        return losses

    @torch.no_grad()
    def samples(self) -> np.ndarray:
        """Source heads, then the same heads in some of the domains, by their first wordings."""
        index = torch.linspace(0, len(self.pool) - 1, SAMPLES).long().to(self.device)
        heads = self.pool.take(index)
        rows = [to_pixels(heads.image)]
        self.network.eval()
        for texts in self.embeddings.texts[:SAMPLES]:
            change = self.network(texts[:1].expand(SAMPLES, -1))
            tokens = add_domain(heads.tokens, change)
            with autocast(self.device, self.config.training.precision):
                rows.append(to_pixels(self.generator.synthesis(heads.w_plus, tokens)))
        return grid(np.concatenate(rows), SAMPLES)

    def finish(self, run_dir: Path, record: dict[str, Any]) -> list[Path]:
        """Write the network, fp16-stored."""
        save_model(self.out, self.network, record, dtype=torch.float16)
        return [self.out]


def new_network(
    size: HypernetworkSize, table: LayerTable, *, clip: str = "", generator: str = ""
) -> HyperDomainNet:
    """An untrained network for the generator of a table.

    Args:
        size: Its size.
        table: Layers of the generator.
        clip: Fingerprint of the CLIP.
        generator: Fingerprint of the generator.
    """
    channels = tuple((layer.in_channels, layer.out_channels) for layer in table.convs)
    return HyperDomainNet(
        HyperDomainNetConfig(
            conv_channels=channels, clip=clip, generator=generator, **dataclasses.asdict(size)
        )
    )


def _refuse_other_length(config: HypernetworkRun, length: int) -> None:
    if length != config.network.embed_dim:
        raise UsageError(
            "network.embed_dim is not the length of the CLIP's embeddings",
            found=str(config.network.embed_dim),
            expected=str(length),
            hint=f"--set network.embed_dim={length}",
        )


def _refuse_single_heads(config: HypernetworkRun) -> None:
    if config.training.heads < 2 and config.weights.in_domain_angle:
        raise UsageError(
            "in_domain_angle compares the heads of a domain",
            found=f"training.heads {config.training.heads}",
            expected="2 or more, or weights.in_domain_angle=0",
        )


def _joined(a: _Lesson, b: _Lesson) -> _Lesson:
    """Two lessons as one; the second has no pictures."""
    pairs = zip(a.heads.tokens, b.heads.tokens, strict=True)
    heads = Heads(
        torch.cat([a.heads.w_plus, b.heads.w_plus]),
        PackedTokens(*(None if x is None else torch.cat([x, y]) for x, y in pairs)),
        torch.cat([a.heads.image, b.heads.image]),
    )
    embedding, target = torch.cat([a.embedding, b.embedding]), torch.cat([a.target, b.target])
    return _Lesson(heads, embedding, target, a.truth)
