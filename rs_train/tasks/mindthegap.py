"""A domain from one picture as MindTheGap learns it: by CLIP's directions to and around it."""

import torch
from torch import Tensor

from rs_train.inverters.optimise import looked_at, optimise_latent
from rs_train.losses.direction import direction_loss, picture_direction
from rs_train.losses.identity import embedding_distance
from rs_train.losses.l2 import l2_loss
from rs_train.losses.structure import structure_loss
from rs_train.losses.within import within_loss
from rs_train.perceptual.augment import apply_view, draw_view
from rs_train.processes import share
from rs_train.tasks.domain import Subject, placed_image
from rs_train.tasks.one_shot_domain import OneShotDomainTask, Shown


class MindTheGapTask(OneShotDomainTask):
    """Heads shall change as the reference's inversion changes into the reference.

    The reference is inverted by optimisation: the inversion is the head of the generator's own that
    comes nearest. From it to the reference leads the direction across domains; around both, heads
    shall lie in the same directions, within domains. The adapted inversion shall be the reference.

    Source: MindTheGap (Zhu et al. 2022). It gives a head the reference's fine rows when it is used
    and not in training, as the last row of the samples shows.
    """

    def __init__(self, subject: Subject, shown: Shown) -> None:
        """Invert the reference.

        Raises:
            UsageError: No feature network, or no CLIP.
        """
        super().__init__(subject, shown)
        self.require_features()
        self.require_clip()
        self.w_plus = optimise_latent(
            self.reference,
            self.w_plus,
            self.generator,
            lambda image, wanted: self.feature_distance(image, wanted)[None],
            self.one_shot.inversion,
        )
        with torch.no_grad():
            self.inversion = placed_image(self.generator.synthesis(self.w_plus).clamp(-1, 1))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction of the reference, and the directions of other heads."""
        heads = self.pool.draw(share(self.config.loop.batch_size))
        own = placed_image(self.adapted(self.w_plus).clamp(-1, 1))
        others = placed_image(self.adapt(heads).clamp(-1, 1))
        enough = self.config.training.structure_enough
        return {
            "l2": l2_loss(looked_at(own), looked_at(self.reference)),
            "perceptual": self.feature_distance(own, self.reference),
            "structure": structure_loss(heads.image, others, enough=enough),
            **self._clip_losses(heads.image, others, own),
        }

    def _clip_losses(self, before: Tensor, after: Tensor, own: Tensor) -> dict[str, Tensor]:
        """Across, within and reference, each a weighted sum over the CLIPs."""
        view = draw_view(len(before), self.config.training.guide_view, self.device)
        one = draw_view(1, self.config.training.guide_view, self.device)
        losses: dict[str, Tensor] = {}
        for clip, weight in self.clips.items():
            with torch.no_grad():
                source = clip.embed_image(apply_view(before, view))
                inversion = clip.embed_image(apply_view(self.inversion, one))
                reference = clip.embed_image(apply_view(self.reference, one))
            target = clip.embed_image(apply_view(after, view))
            adapted = clip.embed_image(apply_view(own, one))
            found = {
                "direction": direction_loss(
                    source, target, picture_direction(inversion, reference)
                ),
                "within": within_loss(source, target, inversion, reference),
                "reference": embedding_distance(adapted, reference),
            }
            for name, loss in found.items():
                losses[name] = losses.get(name, 0) + weight * loss
        return losses
