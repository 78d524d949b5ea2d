"""A domain from two prompts, from unpaired reference pictures, or from both."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rs_train.devices import autocast
from rs_train.domains.discriminator import DomainDiscriminator
from rs_train.domains.text_guidance import TextGuidance
from rs_train.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from rs_train.losses.identity import embedding_distance
from rs_train.losses.sliced_wasserstein import neighbourhoods, texture_distance
from rs_train.losses.structure import structure_loss
from rs_train.optimizers import minimise
from rs_train.perceptual.arcface import ArcFace
from rs_train.perceptual.augment import augment
from rs_train.perceptual.clip import ClipGuide
from rs_train.processes import share
from rs_train.tasks.domain import DomainTask, Subject, placed, placed_image


class GuidedDomainTask(DomainTask):
    """Guided by text, by references, or by both.

    Text guidance alone by a small CLIP is easily won by adversarial patterns; references anchor it.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        clips: Mapping[ClipGuide, float],
        prompts: tuple[str, str] | None,
        arcface: ArcFace | None,
        has_references: bool,
    ) -> None:
        """Prepare the guides.

        Args:
            subject: What to begin with.
            clips: Guides and their weights in the sum of their losses.
            prompts: Source and target text; without, `clips` are not asked.
            arcface: Network of the texture and identity losses, or None.
            has_references: Whether batches hold reference pictures as "image".
        """
        super().__init__(subject)
        training, weights = self.config.training, self.config.weights
        self.arcface = arcface and placed(arcface, self.device)
        self.text = None
        if prompts is not None and (weights.direction or weights.in_domain_angle):
            guides = {placed(clip, self.device): weight for clip, weight in clips.items()}
            self.text = TextGuidance(guides, *prompts, training.guide_view)
        # pictures and feature maps of the step under way, for the discriminator
        self._fake: tuple[Tensor, list[Tensor]] | None = None
        self._real: tuple[Tensor, list[Tensor]] | None = None
        self.discriminator = None
        if has_references and weights.adversarial:
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
        image = placed_image(self.adapt(heads).clamp(-1, 1))
        enough = config.training.structure_enough
        losses = {"structure": structure_loss(heads.image, image, enough=enough)}
        if self.text is not None:
            losses |= self.text.losses(heads.image, image)
        if "image" in batch:
            losses |= self._reference_losses(image, placed_image(batch["image"].to(self.device)))
        if self.arcface is not None and config.weights.identity:
            with torch.no_grad():
                person = self.arcface.embed(heads.image)
            losses["identity"] = embedding_distance(self.arcface.embed(image), person)
        return losses

    def _reference_losses(self, image: Tensor, real: Tensor) -> dict[str, Tensor]:
        """What the references ask for; keeps the pictures for the discriminator's own step."""
        maps, real_maps = [], []
        if self.arcface is not None:
            maps = self.arcface.features(image)
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
