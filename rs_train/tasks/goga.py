"""A domain from one picture as GOGA learns it: by reconstruction and by statistics of style."""

import torch
from torch import Tensor

from rs_runtime.contracts.errors import UsageError
from rs_train.domains.codes import Codes
from rs_train.domains.tokens import TokenParameterisation
from rs_train.generator import PackedTokens
from rs_train.inverters.optimise import looked_at
from rs_train.losses.l2 import l2_loss
from rs_train.losses.laplacian import laplacian_loss
from rs_train.losses.sliced_wasserstein import neighbourhoods, texture_distance
from rs_train.losses.structure import structure_loss
from rs_train.processes import share
from rs_train.tasks.domain import Subject, placed_image
from rs_train.tasks.one_shot_domain import OneShotDomainTask, Shown

DIRECTIONS = 256  # random projections a map and step


class GogaTask(OneShotDomainTask):
    """The reference's inversion shall become the reference, and all heads look like it.

    A head keeps the coarse rows of its latent and takes the fine ones, which hold colours and
    texture, from the reference. Its deep features are drawn to those of the adapted inversion,
    which is not drawn back, so that the look is learnt from the reconstruction alone.

    Source: GOGA (Zhang et al. 2022), its style arm; with squared error where it has MS-SSIM.
    """

    def __init__(self, subject: Subject, shown: Shown) -> None:
        """Prepare the reference.

        Raises:
            UsageError: No feature network, or a fine-tuning that shall start from tokens.
            IncompatibleError: The inversion's tokens cannot be started from.
        """
        super().__init__(subject, shown)
        self.require_features()
        if self.one_shot.start_from_reference:
            self._start_from(shown.codes)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction of the reference, and the style of other heads."""
        weights = self.config.weights
        w_plus = self.draw(share(self.config.loop.batch_size))
        image = placed_image(self.adapted(torch.cat([self.w_plus, w_plus])).clamp(-1, 1))
        own, others = image[:1], image[1:]
        losses = {
            "l2": l2_loss(own, self.reference),
            "perceptual": self.feature_distance(own, self.reference),
            "style": self._style_distance(others, own),
        }
        if weights.structure or weights.laplacian:
            with torch.no_grad():
                before = self.generator.synthesis(w_plus).clamp(-1, 1)
            enough = self.config.training.structure_enough
            losses["structure"] = structure_loss(before, others, enough=enough)
            if weights.laplacian and self.clips:
                losses["laplacian"] = self._laplacian(w_plus, before, others)
        return losses

    def draw(self, count: int) -> Tensor:
        """Latents [count, num_ws, w_dim] of random heads, the configured share of them mixed."""
        w_plus = self.pool.draw(count).w_plus
        mixed = round(count * self.one_shot.mixed_share)
        return torch.cat([self.mix(w_plus[:mixed]), w_plus[mixed:]])

    def _start_from(self, codes: Codes) -> None:
        if not isinstance(self.change, TokenParameterisation):
            raise UsageError("one_shot.start_from_reference goes with --parameterisation tokens")
        self.change.start_from(PackedTokens(*(x.to(self.device) for x in (codes.P, codes.Q))))
        self.average.load_state_dict(self.change.state_dict())

    def _style_distance(self, image: Tensor, wanted: Tensor) -> Tensor:
        """Sliced Wasserstein distance of the feature maps' vectors."""
        with torch.no_grad():
            target = self._style_maps(looked_at(wanted))
        maps = self._style_maps(looked_at(image))
        target = [x.expand_as(y) for x, y in zip(target, maps, strict=True)]
        # The published weight is for VGG's maps as they are.
        return texture_distance(maps, target, directions=DIRECTIONS, scaled=self.vgg is None)

    def _style_maps(self, image: Tensor) -> list[Tensor]:
        """VGG-16's relu4_3 and relu5_3; or, as deep maps of a face network tell people apart, all.

        The latter with coarse colours, but not with their places, which are those of one head.
        """
        if self.vgg is not None:
            return self.vgg.features(image)[-2:]
        return [neighbourhoods(image)[:, :-2], *self.arcface.features(image)]

    def _laplacian(self, w_plus: Tensor, before: Tensor, after: Tensor) -> Tensor:
        coarse = w_plus[:, : self.one_shot.coarse_rows]
        total = torch.zeros((), device=after.device)
        for clip, weight in self.clips.items():
            with torch.no_grad():
                source = clip.embed_image(before)
            total = total + weight * laplacian_loss(coarse, source, clip.embed_image(after))
        return total
