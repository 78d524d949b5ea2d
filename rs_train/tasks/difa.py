"""A domain from one picture as DiFa learns it: by CLIP's direction to it and by CLIP's places."""

import torch
from torch import Tensor

from rs_train.inverters.base import first_latent
from rs_train.losses.direction import direction_loss, picture_direction
from rs_train.losses.relaxed_transport import relaxed_transport
from rs_train.losses.selective_consistency import SelectiveConsistency
from rs_train.losses.structure import structure_loss
from rs_train.perceptual.augment import View, apply_view, draw_view
from rs_train.perceptual.clip import ClipGuide
from rs_train.perceptual.clip_tokens import embed_with_tokens
from rs_train.processes import share
from rs_train.tasks.domain import Subject, placed, placed_image
from rs_train.tasks.one_shot_domain import OneShotDomainTask, Shown

SOURCES = 16  # heads whose mean is where the global direction begins


class DifaTask(OneShotDomainTask):
    """Heads shall go from the mean head to the reference, look like it in places, and stay apart.

    Globally a head's embedding moves as from the mean of the source to the reference; locally the
    vectors of its places come near the reference's. The base inverter's latents of a head, before
    and after, shall differ only in those channels that change most for all heads.

    Source: DiFa (Zhang et al. 2022), with e4e as the inverter.
    """

    def __init__(self, subject: Subject, shown: Shown) -> None:
        """Prepare the reference.

        Raises:
            UsageError: No CLIP.
        """
        super().__init__(subject, shown)
        self.require_clip()
        self.base = placed(shown.base, self.device)
        rows = min(self.one_shot.coarse_rows, self.generator.num_ws)
        self.consistency = SelectiveConsistency(rows * self.generator.config.w_dim).to(self.device)
        self.modules["consistency"] = self.consistency
        some = torch.arange(min(SOURCES, len(self.pool)), device=self.device)
        sources = placed_image(self.pool.take(some).image)
        with torch.no_grad():
            self.sources = {clip: clip.embed_image(sources) for clip in self.clips}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Global direction, local likeness, and what stays."""
        heads = self.pool.draw(share(self.config.loop.batch_size))
        image = placed_image(self.adapt(heads).clamp(-1, 1))
        view = draw_view(len(image), self.config.training.guide_view, self.device)
        enough = self.config.training.structure_enough
        losses = {"structure": structure_loss(heads.image, image, enough=enough)}
        for clip, weight in self.clips.items():
            for name, loss in self._clip_losses(clip, heads.image, image, view).items():
                losses[name] = losses.get(name, 0) + weight * loss
        if self.config.weights.consistency:
            losses["consistency"] = self._consistency(heads.image, image)
        return losses

    def _clip_losses(
        self, clip: ClipGuide, before: Tensor, after: Tensor, view: View
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            source = clip.embed_image(apply_view(before, view))
            reference, wanted = embed_with_tokens(clip, self.reference)
        target, tokens = embed_with_tokens(clip, apply_view(after, view))
        direction = picture_direction(self.sources[clip], reference)
        return {
            "direction": direction_loss(source, target, direction),
            "local": relaxed_transport(tokens, wanted),
        }

    def _consistency(self, before: Tensor, after: Tensor) -> Tensor:
        rows = self.one_shot.coarse_rows
        with torch.no_grad():
            source = first_latent(self.base, before, self.generator.synthesis)[:, :rows]
        target = first_latent(self.base, after, self.generator.synthesis)[:, :rows]
        loss = self.consistency(source, target)
        return self.consistency.ramp(self.config.loop.steps) * loss
