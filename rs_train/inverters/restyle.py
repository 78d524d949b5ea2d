"""ReStyle, a base inverter that looks again: each step corrects the inversion before it.

Alaluf et al., "ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement", ICCV 2021. The
encoder reads the image beside what the generator makes of the latent so far, and its output is
added to that latent; the first latent is the average. All heads read the coarse map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rs_train.inverters.pooling import middle_rows, pool_to
from rs_train.inverters.style_head import StyleHead, StyleHeadsConfig, add_to_first
from rs_train.inverters.trunk import Trunk

# From w_plus [N, num_ws, w_dim] to the float image [N, 3, R, R].
Synthesis = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ReStyleConfig(StyleHeadsConfig):
    """Sizes of a ReStyle encoder; the defaults are the published ones for 1024² faces.

    Attributes:
        iterations: steps of an inversion.
        progressive: True for ReStyle over e4e, whose rows are differences from the first one;
            False for ReStyle over pSp.
    """

    iterations: int = 5
    progressive: bool = False


class ReStyle(nn.Module):
    """Iterative base inverter (ReStyle's BackboneEncoder or ProgressiveBackboneEncoder)."""

    kind: ClassVar[str] = "restyle"

    def __init__(self, config: ReStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(6, config.channels)
        self.heads = nn.ModuleList(
            StyleHead(config.image_size // 16, config.channels[-1], config.w_dim)
            for _ in range(config.num_ws)
        )
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def forward(self, image: Tensor, inversion: Tensor, w_plus: Tensor) -> Tensor:
        """Take one step.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            inversion: [N, 3, S, S], the image of ``w_plus`` at this size, not clamped.
            w_plus: [N, num_ws, w_dim], the latent so far.

        Returns:
            The next w_plus [N, num_ws, w_dim].
        """
        both = middle_rows(torch.cat([image, inversion], dim=1), self.config.image_height)
        features = self.trunk(both).sixteenth
        rows = torch.stack([head(features) for head in self.heads], dim=1)
        return w_plus + (add_to_first(rows) if self.config.progressive else rows)

    def steps(self, image: Tensor, synthesis: Synthesis) -> list[Tensor]:
        """The latents w_plus [N, num_ws, w_dim] after each step.

        Each step starts from the one before as from a constant, so that gradients stay inside a
        step, as in the published training.

        Args:
            image: [N, 3, S, S] in [-1, 1].
            synthesis: The generator's synthesis with its constant noise; R is a multiple of S.
        """
        w_plus = self.latent_avg[None]
        results: list[Tensor] = []
        for _ in range(self.config.iterations):
            # The first inversion is that of the average, the same for every image.
            with torch.no_grad():
                seen = pool_to(synthesis(w_plus), self.config.image_size)
            seen = seen.expand(len(image), -1, -1, -1)
            w_plus = self(image, seen, w_plus.expand(len(image), -1, -1))
            results.append(w_plus)
            w_plus = w_plus.detach()
        return results
