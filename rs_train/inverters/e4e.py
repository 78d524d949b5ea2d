"""e4e, a base inverter made for editing: one w and small differences from it.

Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", SIGGRAPH 2021. The heads are
pSp's; the first row's output is used for all rows, the others' are added to it (Eq. 1).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from rs_train.inverters.pooling import middle_rows
from rs_train.inverters.style_head import StyleHeadsConfig, add_to_first, pyramid_heads, read_rows
from rs_train.inverters.trunk import FeaturePyramid


class E4E(nn.Module):
    """Base inverter (e4e's Encoder4Editing at its last stage, and the average it adds)."""

    kind: ClassVar[str] = "e4e"

    def __init__(self, config: StyleHeadsConfig) -> None:
        super().__init__()
        self.config = config
        self.pyramid = FeaturePyramid(3, config.channels)
        self.heads = pyramid_heads(config)
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def rows(self, image: Tensor) -> Tensor:
        """The first row and the others' differences from it, [N, num_ws, w_dim]."""
        features = self.pyramid(middle_rows(image, self.config.image_height))
        return read_rows(self.heads, features)

    def forward(self, image: Tensor) -> Tensor:
        """Invert images [N, 3, S, S] in [-1, 1] to w_plus [N, num_ws, w_dim]."""
        return add_to_first(self.rows(image)) + self.latent_avg
