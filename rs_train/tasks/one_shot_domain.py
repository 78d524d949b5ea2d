"""A domain from one picture."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rs_runtime.contracts.errors import UsageError
from rs_train.devices import autocast
from rs_train.domains.codes import Codes
from rs_train.domains.parameterisation import Parameterisation
from rs_train.domains.tokens import TokenParameterisation
from rs_train.generator import PackedTokens
from rs_train.grids import grid, to_pixels
from rs_train.losses.l2 import l2_loss
from rs_train.losses.laplacian import laplacian_loss
from rs_train.losses.lpips import lpips_loss
from rs_train.losses.perceptual import perceptual_loss
from rs_train.losses.sliced_wasserstein import neighbourhoods, texture_distance
from rs_train.losses.structure import structure_loss
from rs_train.perceptual.arcface import ArcFace
from rs_train.perceptual.clip import ClipGuide
from rs_train.perceptual.lpips import Lpips
from rs_train.perceptual.preprocessing import to_size
from rs_train.processes import share
from rs_train.tasks.domain import SAMPLES, DomainTask, Subject, placed, placed_image

LOOKED_AT = 256  # largest side at which feature networks see a picture
DIRECTIONS = 256  # random projections a map and step


class OneShotDomainTask(DomainTask):
    """The reference's inversion shall become the reference, and all heads look like it.

    A head keeps the coarse rows of its latent and takes the fine ones, which hold colours and
    texture, from the reference. Its deep features are drawn to those of the adapted inversion,
    which is not drawn back, so that the look is learnt from the reconstruction alone.

    Source: GOGA (Zhang et al. 2022), its style arm; with squared error where it has MS-SSIM.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        reference: Tensor,
        codes: Codes,
        arcface: ArcFace | None,
        vgg: Lpips | None,
        clips: Mapping[ClipGuide, float],
    ) -> None:
        """Prepare the reference.

        Args:
            subject: What to begin with.
            reference: The picture [1, 3, R, R] in [-1, 1].
            codes: Its inversion.
            arcface: The project's own network of the feature losses.
            vgg: LPIPS on VGG-16, whose place the former takes where it is missing.
            clips: Networks of the Laplacian loss and their weights; may be empty.

        Raises:
            UsageError: Neither feature network, or a fine-tuning that shall start from tokens.
            IncompatibleError: The inversion's tokens cannot be started from.
        """
        super().__init__(subject)
        if vgg is None and arcface is None:
            raise UsageError(
                "one picture needs a network that sees its style",
                expected="--vgg vgg16-397923af.pth or --arcface arcface.safetensors",
            )
        self.vgg = vgg and placed(vgg, self.device)
        self.arcface = arcface and placed(arcface, self.device)
        self.clips = {placed(clip, self.device): weight for clip, weight in clips.items()}
        self.reference = placed_image(reference.to(self.device))
        self.w_plus = codes.w_plus.to(self.device)
        if self.config.training.start_from_reference:
            self._start_from(codes)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction of the reference, and the style of other heads."""
        weights = self.config.weights
        w_plus = self.draw(share(self.config.loop.batch_size))
        image = placed_image(self._adapted(torch.cat([self.w_plus, w_plus])).clamp(-1, 1))
        own, others = image[:1], image[1:]
        losses = {
            "l2": l2_loss(own, self.reference),
            "perceptual": self._feature_distance(own),
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
        mixed = round(count * self.config.training.mixed_share)
        return torch.cat([self.mix(w_plus[:mixed]), w_plus[mixed:]])

    def mix(self, w_plus: Tensor) -> Tensor:
        """Latents [N, num_ws, w_dim] with the reference's fine rows."""
        rows = self.config.training.coarse_rows
        fine = self.w_plus[:, rows:].expand(len(w_plus), -1, -1)
        return torch.cat([w_plus[:, :rows], fine], dim=1)

    @torch.no_grad()
    def samples(self) -> np.ndarray:
        """Three rows: reference and heads; its inversion and the heads adapted; mixed, too."""
        index = torch.linspace(0, len(self.pool) - 1, SAMPLES - 1).long().to(self.device)
        heads = self.pool.take(index)
        adapted = []
        with autocast(self.device, self.config.training.precision):
            for latents in (heads.w_plus, self.mix(heads.w_plus)):
                adapted += [
                    to_pixels(self._adapted(w_plus, self.average))
                    for w_plus in torch.cat([self.w_plus, latents]).split(1)
                ]
        return grid(
            np.concatenate([to_pixels(self.reference), to_pixels(heads.image), *adapted]), SAMPLES
        )

    def _adapted(self, w_plus: Tensor, change: Parameterisation | None = None) -> Tensor:
        change = change or self.change
        return change.synthesize(self.generator.synthesis, w_plus, PackedTokens())

    def _start_from(self, codes: Codes) -> None:
        if not isinstance(self.change, TokenParameterisation):
            raise UsageError("training.start_from_reference goes with --parameterisation tokens")
        self.change.start_from(PackedTokens(*(x.to(self.device) for x in (codes.P, codes.Q))))
        self.average.load_state_dict(self.change.state_dict())

    def _feature_distance(self, image: Tensor) -> Tensor:
        image, reference = _looked_at(image), _looked_at(self.reference)
        if self.vgg is not None:
            return lpips_loss(self.vgg, image, reference)
        return perceptual_loss(self.arcface, image, reference)

    def _style_distance(self, image: Tensor, wanted: Tensor) -> Tensor:
        """Sliced Wasserstein distance of the feature maps' vectors."""
        with torch.no_grad():
            target = self._style_maps(_looked_at(wanted))
        maps = self._style_maps(_looked_at(image))
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
        coarse = w_plus[:, : self.config.training.coarse_rows]
        total = torch.zeros((), device=after.device)
        for clip, weight in self.clips.items():
            with torch.no_grad():
                source = clip.embed_image(before)
            total = total + weight * laplacian_loss(coarse, source, clip.embed_image(after))
        return total


def _looked_at(image: Tensor) -> Tensor:
    return to_size(image, min(LOOKED_AT, image.shape[-1]))
