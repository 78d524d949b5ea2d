"""What the ways to a domain from one picture share: the picture, its inversion, mixed heads."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rs_runtime.contracts.errors import UsageError
from rs_train.devices import autocast
from rs_train.domains.codes import Codes
from rs_train.domains.parameterisation import Parameterisation
from rs_train.generator import PackedTokens
from rs_train.grids import grid, to_pixels
from rs_train.inverters.optimise import looked_at
from rs_train.losses.lpips import lpips_loss
from rs_train.losses.perceptual import perceptual_loss
from rs_train.perceptual.arcface import ArcFace
from rs_train.perceptual.clip import ClipGuide
from rs_train.perceptual.lpips import Lpips
from rs_train.tasks.domain import SAMPLES, DomainTask, Subject, placed, placed_image


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The one picture, and the networks that look at it.

    Attributes:
        reference: The picture [1, 3, R, R] in [-1, 1].
        codes: Its inversion.
        base: The base inverter that found it.
        arcface: The project's own network of the feature losses, or None.
        vgg: LPIPS on VGG-16, whose place the former takes where it is missing.
        clips: CLIPs and their weights; may be empty where no loss asks them.
    """

    reference: Tensor
    codes: Codes
    base: nn.Module
    arcface: ArcFace | None
    vgg: Lpips | None
    clips: Mapping[ClipGuide, float]


class OneShotDomainTask(DomainTask):
    """A domain from one picture; a subclass is a way."""

    def __init__(self, subject: Subject, shown: Shown) -> None:
        """Place the picture and the networks.

        Raises:
            UsageError: See `DomainTask`.
        """
        super().__init__(subject)
        self.one_shot = self.config.one_shot
        self.vgg = shown.vgg and placed(shown.vgg, self.device)
        self.arcface = shown.arcface and placed(shown.arcface, self.device)
        self.clips = {placed(clip, self.device): weight for clip, weight in shown.clips.items()}
        self.reference = placed_image(shown.reference.to(self.device))
        self.w_plus = shown.codes.w_plus.to(self.device)

    def mix(self, w_plus: Tensor) -> Tensor:
        """Latents [N, num_ws, w_dim] with the reference's fine rows."""
        rows = self.one_shot.coarse_rows
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
                    to_pixels(self.adapted(w_plus, self.average))
                    for w_plus in torch.cat([self.w_plus, latents]).split(1)
                ]
        return grid(
            np.concatenate([to_pixels(self.reference), to_pixels(heads.image), *adapted]), SAMPLES
        )

    def adapted(self, w_plus: Tensor, change: Parameterisation | None = None) -> Tensor:
        """Pictures [N, 3, R, R] of latents alone with the change applied, unclamped."""
        change = change or self.change
        return change.synthesize(self.generator.synthesis, w_plus, PackedTokens())

    def feature_distance(self, image: Tensor, wanted: Tensor) -> Tensor:
        """LPIPS of pictures [N, 3, R, R], or what stands in for it; scalar."""
        image, wanted = looked_at(image), looked_at(wanted)
        if self.vgg is not None:
            return lpips_loss(self.vgg, image, wanted)
        return perceptual_loss(self.arcface, image, wanted)

    def require_features(self) -> None:
        """Refuse to begin without a network that compares features.

        Raises:
            UsageError: There is neither.
        """
        if self.vgg is None and self.arcface is None:
            raise UsageError(
                "one picture needs a network that sees its style",
                expected="--vgg vgg16-397923af.pth or --arcface arcface.safetensors",
            )

    def require_clip(self) -> None:
        """Refuse to begin without a CLIP.

        Raises:
            UsageError: There is none.
        """
        if not self.clips:
            raise UsageError(
                f"the one-shot way {self.one_shot.way} is guided by CLIP",
                hint="add --clip clip.safetensors",
            )
